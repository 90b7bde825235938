/* Everything that the owner of a link can call, once, so that its size can be read. */
#include "../tidegate_link.h"

tidegate_link footprint_state;

void (*const footprint_open)(tidegate_link *, const tidegate_io *, uint32_t, uint32_t, uint8_t, const char *,
                             const char *) = tidegate_link_open;
void (*const footprint_calls[])(tidegate_link *) = {tidegate_link_poll, tidegate_link_reset, tidegate_link_leave};
uint16_t (*const footprint_read)(tidegate_link *, uint8_t *, uint16_t) = tidegate_link_read;
uint16_t (*const footprint_write)(tidegate_link *, const uint8_t *, uint16_t) = tidegate_link_write;
void (*const footprint_rates)(tidegate_link *, tidegate_change_rate, const uint32_t *, uint8_t) = tidegate_link_rates;
void (*const footprint_times[])(tidegate_link *) = {tidegate_link_want_time, tidegate_link_ask_time};
void (*const footprint_address)(tidegate_link *, uint8_t) = tidegate_link_address;
bool (*const footprint_time)(const tidegate_link *, uint64_t *, uint8_t *) = tidegate_link_time;
void (*const footprint_log)(tidegate_link *, const char *) = tidegate_link_log;
