/*
 * The device end of the serial link of docs/serial-link.md: a reliable byte stream over a UART, for boards with little
 * memory. One header, C99 or C++, no allocation, no recursion, no globals; all state is in one struct. Nothing happens
 * behind your back: call tidegate_link_poll() often, at least every few milliseconds while a UART buffer can overrun.
 *
 *   tidegate_link link;
 *   tidegate_link_open(&link, &io, 115200, bootId, TIDEGATE_RESET_POWER_ON, "s1", "thermo 1.2");
 *   for (;;) { tidegate_link_poll(&link); ... tidegate_link_read(), tidegate_link_write() while it is connected ... }
 *
 * Sizes, set before the include. The longest frame is taken into one buffer; what was read waits in the second; what
 * was written waits in the third until the gateway has acknowledged it.
 */
#ifndef TIDEGATE_LINK_H
#define TIDEGATE_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest frame that comes in, header and checksum included, before COBS: 48 to 2048. */
#ifndef TIDEGATE_LINK_MTU
#define TIDEGATE_LINK_MTU 64
#endif
/* Bytes that wait to be read: at least the MTU. It is also the credit that the gateway is given. */
#ifndef TIDEGATE_LINK_RX
#define TIDEGATE_LINK_RX 128
#endif
/* Bytes that wait to be sent or acknowledged. */
#ifndef TIDEGATE_LINK_TX
#define TIDEGATE_LINK_TX 128
#endif
/* DATA frames under way, both ways: 1 to 3. */
#ifndef TIDEGATE_LINK_WINDOW
#define TIDEGATE_LINK_WINDOW 2
#endif

#if TIDEGATE_LINK_MTU < 48 || TIDEGATE_LINK_MTU > 2048
#error "TIDEGATE_LINK_MTU is 48 to 2048"
#endif
#if TIDEGATE_LINK_RX < TIDEGATE_LINK_MTU || TIDEGATE_LINK_RX < 64 || TIDEGATE_LINK_RX > 16384
#error "TIDEGATE_LINK_RX is 64 to 16384, and not below the MTU"
#endif
#if TIDEGATE_LINK_TX < 16 || TIDEGATE_LINK_TX > 16384
#error "TIDEGATE_LINK_TX is 16 to 16384"
#endif
#if TIDEGATE_LINK_WINDOW < 1 || TIDEGATE_LINK_WINDOW > 3
#error "TIDEGATE_LINK_WINDOW is 1 to 3"
#endif

enum {
  TIDEGATE_RESET_UNKNOWN,
  TIDEGATE_RESET_POWER_ON,
  TIDEGATE_RESET_BROWN_OUT,
  TIDEGATE_RESET_WATCHDOG,
  TIDEGATE_RESET_PIN,
  TIDEGATE_RESET_SOFTWARE
};

/* The board. Every function gets `context`. */
typedef struct {
  void *context;
  /* Sends a byte; may wait for the UART, may lose it. */
  void (*put)(void *context, uint8_t byte);
  /* The next byte that came, or -1. Never waits. */
  int (*get)(void *context);
  /* Milliseconds since any moment; may wrap around. */
  uint32_t (*millis)(void *context);
} tidegate_io;

/* Waits until the UART has sent what it has, then sets its rate. */
typedef void (*tidegate_change_rate)(void *context, uint32_t baud);

/* How far the time can be trusted. */
enum { TIDEGATE_TIME_UNSET, TIDEGATE_TIME_KEPT, TIDEGATE_TIME_RTC, TIDEGATE_TIME_NETWORK, TIDEGATE_TIME_GPS };

typedef struct {
  tidegate_io io;
  /* The rate that conversations begin with, and the present one. */
  uint32_t start_baud;
  uint32_t baud;
  tidegate_change_rate change_rate;
  const uint32_t *rates;
  uint8_t rate_count;
  /* The present rate has not carried a frame. */
  bool is_trial;
  uint32_t trial_until;
  bool wants_time;
  bool has_time;
  uint8_t time_quality;
  uint32_t time_at;
  uint64_t time_ms;
  const char *device_id;
  const char *firmware;
  uint32_t boot_id;
  uint32_t conversation;
  uint32_t random;
  uint8_t reset_reason;
  uint8_t state;
  /* On a bus: ours, 1 to 127. What cannot be said before our turn, a bit for each type of frame. */
  uint8_t address;
  bool has_turn;
  uint16_t unsaid;
  /* Changes whenever a conversation begins or ends. */
  uint8_t generation;

  /* The frame that comes in, without its COBS codes. */
  uint16_t frame_length;
  uint8_t code;
  uint8_t code_left;
  bool is_bad;

  uint8_t expected_seq;
  uint8_t unacked_count;
  bool is_ack_due;
  bool is_nak_held;
  /* A frame in order found no room. */
  bool is_missing;
  bool is_full_told;
  uint32_t ack_at;
  uint32_t nak_held_until;
  uint32_t full_told_at;
  uint16_t rx_at;
  uint16_t rx_count;

  uint8_t next_seq;
  uint8_t flight_count;
  /* Of the frames under way, the next one to send again. */
  uint8_t cursor;
  uint8_t timeout_count;
  uint8_t reject_count;
  uint8_t ping_count;
  uint8_t peer_window;
  bool is_held;
  bool is_resend_armed;
  uint16_t peer_mtu;
  uint16_t peer_credit;
  uint16_t tx_at;
  uint16_t tx_count;
  uint16_t flight_bytes;
  uint16_t flight_length[TIDEGATE_LINK_WINDOW];
  uint32_t left_at[TIDEGATE_LINK_WINDOW];
  uint32_t resend_at;
  uint32_t held_until;
  /* The next RST or PING. */
  uint32_t pulse_at;
  /* When everything written has left the line. */
  uint32_t free_at;
  /* Acknowledgements in a row that came before the frame could have left: two, and the line is faster than its rate. */
  uint8_t early_count;

  /* For people: frames that came damaged, frames sent again. */
  uint16_t garbage_count;
  uint16_t resent_count;

  uint8_t frame[TIDEGATE_LINK_MTU];
  uint8_t rx[TIDEGATE_LINK_RX];
  uint8_t tx[TIDEGATE_LINK_TX];
} tidegate_link;

/* ---- Frames ---- */

enum { TIDEGATE__RST, TIDEGATE__RSTACK, TIDEGATE__DATA, TIDEGATE__ACK, TIDEGATE__NAK, TIDEGATE__PING, TIDEGATE__PONG,
       TIDEGATE__LOG, TIDEGATE__TIME = 9, TIDEGATE__BAUD, TIDEGATE__ERR, TIDEGATE__TURN };
enum { TIDEGATE__RETRANSMITTED = 1, TIDEGATE__NOT_READY = 2, TIDEGATE__HOST = 4, TIDEGATE__ADDRESSED = 8 };
enum { TIDEGATE__CLOSED, TIDEGATE__RESETTING, TIDEGATE__OPEN };
enum { TIDEGATE__HEAD = 3, TIDEGATE__OVERHEAD = 5, TIDEGATE__TEXT_MAX = 24, TIDEGATE__RATES_MAX = 4,
       TIDEGATE__HELLO_MAX = 105 };

/* A frame to be sent, in three pieces so that nothing is copied. The body may wrap around the end of a ring. */
typedef struct {
  uint8_t head[TIDEGATE__HEAD + 1];
  uint8_t tail[2];
  uint8_t head_length;
  uint8_t tail_length;
  const uint8_t *body;
  uint16_t body_at;
  uint16_t body_size;
  uint16_t body_length;
} tidegate__pieces;

static inline uint8_t tidegate__piece(const tidegate__pieces *pieces, uint16_t at) {
  if (at < pieces->head_length) return pieces->head[at];
  at = (uint16_t)(at - pieces->head_length);
  if (at >= pieces->body_length) return pieces->tail[at - pieces->body_length];
  at = (uint16_t)(at + pieces->body_at);
  return pieces->body[at < pieces->body_size ? at : at - pieces->body_size];
}

static inline uint16_t tidegate__crc(uint16_t crc, uint8_t byte) {
  crc ^= (uint16_t)((uint16_t)byte << 8);
  for (uint8_t bit = 0; bit < 8; bit++) crc = (uint16_t)((uint16_t)(crc << 1) ^ (crc & 0x8000u ? 0x1021u : 0u));
  return crc;
}

/* Puts the pieces in COBS; answers how many bytes that took. */
static inline uint16_t tidegate__stuff(const tidegate_io *io, const tidegate__pieces *pieces) {
  const uint16_t length = (uint16_t)(pieces->head_length + pieces->body_length + pieces->tail_length);
  uint16_t at = 0, count = 0;
  for (;;) {
    uint8_t run = 0;
    while (run < 254 && at + run < length && tidegate__piece(pieces, (uint16_t)(at + run)) != 0) run++;
    io->put(io->context, (uint8_t)(run + 1));
    for (uint8_t left = run; left > 0; left--) io->put(io->context, tidegate__piece(pieces, at++));
    count = (uint16_t)(count + run + 1);
    if (at == length) return count;
    if (run == 254) continue;
    at++;
    if (at < length) continue;
    io->put(io->context, 1); /* The last byte was a zero: an empty group ends it. */
    return (uint16_t)(count + 1);
  }
}

/* ---- Time ---- */

static inline uint32_t tidegate__now(const tidegate_link *link) {
  return link->io.millis(link->io.context);
}

static inline bool tidegate__is_due(uint32_t now, uint32_t at) {
  return (int32_t)(now - at) >= 0;
}

static inline bool tidegate__is_fast(const tidegate_link *link) {
  return link->early_count >= 2;
}

static inline uint32_t tidegate__line_ms(const tidegate_link *link, uint32_t bytes) {
  return (bytes * 10000u + link->baud - 1u) / link->baud;
}

/* Header and checksum of our frames. */
static inline uint8_t tidegate__overhead(const tidegate_link *link) {
  return (uint8_t)(link->address == 0 ? TIDEGATE__OVERHEAD : TIDEGATE__OVERHEAD + 1);
}

static inline uint16_t tidegate__wire_max(const tidegate_link *link, uint16_t payload) {
  const uint16_t plain = (uint16_t)(payload + tidegate__overhead(link));
  return (uint16_t)(plain + (plain + 253u) / 254u + 2u);
}

/* ---- Out ---- */

static inline bool tidegate__is_full(const tidegate_link *link) {
  return TIDEGATE_LINK_RX - link->rx_count < TIDEGATE_LINK_MTU - TIDEGATE__OVERHEAD;
}

static inline void tidegate__put_frame(tidegate_link *link, uint8_t type, uint8_t flags, uint8_t seq,
                                       const uint8_t *body, uint16_t at, uint16_t size, uint16_t length) {
  const bool is_hello = type <= TIDEGATE__RSTACK;
  const uint32_t now = tidegate__now(link);
  tidegate__pieces pieces;
  uint16_t crc = 0xffff;
  uint8_t head = 0;
  if (link->address != 0 && !link->has_turn) {
    link->unsaid |= (uint16_t)(1u << type);
    return;
  }
  if (!is_hello) {
    const bool is_full = tidegate__is_full(link);
    if (is_full) flags |= TIDEGATE__NOT_READY;
    /* Of other types the peer reads neither flags nor ack. */
    if ((type >= TIDEGATE__DATA && type <= TIDEGATE__PONG) || type == TIDEGATE__TURN) {
      link->is_full_told = is_full;
      link->full_told_at = now;
      link->unacked_count = 0;
      link->is_ack_due = false;
    }
  }
  pieces.head[head++] = (uint8_t)(type << 4 | flags | (link->address == 0 ? 0 : TIDEGATE__ADDRESSED));
  /* The high bit says that the device speaks. */
  if (link->address != 0) pieces.head[head++] = link->address | 0x80u;
  pieces.head[head++] = seq;
  pieces.head[head++] = is_hello ? 0 : link->expected_seq;
  pieces.head_length = head;
  pieces.body = body;
  pieces.body_at = at;
  pieces.body_size = size;
  pieces.body_length = length;
  pieces.tail_length = 2;
  pieces.tail[0] = pieces.tail[1] = 0;
  for (uint16_t index = 0; index < head + length; index++) {
    crc = tidegate__crc(crc, tidegate__piece(&pieces, index));
  }
  pieces.tail[0] = (uint8_t)crc;
  pieces.tail[1] = (uint8_t)(crc >> 8);
  link->io.put(link->io.context, 0);
  const uint16_t stuffed = tidegate__stuff(&link->io, &pieces);
  link->io.put(link->io.context, 0);
  if (tidegate__is_due(now, link->free_at) || tidegate__is_fast(link)) link->free_at = now;
  if (!tidegate__is_fast(link)) link->free_at += tidegate__line_ms(link, stuffed + 2u);
}

/* A frame that is only its header. */
static inline void tidegate__put_bare(tidegate_link *link, uint8_t type) {
  tidegate__put_frame(link, type, 0, link->next_seq, NULL, 0, 0, 0);
}

static inline uint8_t tidegate__number_field(uint8_t *to, uint8_t type, uint32_t value, uint8_t bytes) {
  to[0] = type;
  to[1] = bytes;
  for (uint8_t at = 0; at < bytes; at++) to[2 + at] = (uint8_t)(value >> (8 * at));
  return (uint8_t)(bytes + 2);
}

static inline uint8_t tidegate__text_field(uint8_t *to, uint8_t type, const char *text) {
  uint8_t length = 0;
  for (; text != NULL && length < TIDEGATE__TEXT_MAX && text[length] != 0; length++) {
    to[2 + length] = (uint8_t)text[length];
  }
  to[0] = type;
  to[1] = length;
  return (uint8_t)(length + 2);
}

static inline void tidegate__put_hello(tidegate_link *link, uint8_t type) {
  uint8_t hello[TIDEGATE__HELLO_MAX];
  uint8_t length = tidegate__number_field(hello, 1, 1, 1);
  length = (uint8_t)(length + tidegate__number_field(hello + length, 2, 0, 1));
  length = (uint8_t)(length + tidegate__number_field(hello + length, 3, link->boot_id, 4));
  length = (uint8_t)(length + tidegate__number_field(hello + length, 4, link->conversation, 4));
  length = (uint8_t)(length + tidegate__number_field(hello + length, 5, link->reset_reason, 1));
  length = (uint8_t)(length + tidegate__number_field(hello + length, 6, TIDEGATE_LINK_MTU, 2));
  length = (uint8_t)(length + tidegate__number_field(hello + length, 7, TIDEGATE_LINK_RX, 2));
  length = (uint8_t)(length + tidegate__number_field(hello + length, 8, TIDEGATE_LINK_WINDOW, 1));
  length = (uint8_t)(length + tidegate__text_field(hello + length, 9, link->device_id));
  length = (uint8_t)(length + tidegate__text_field(hello + length, 10, link->firmware));
  if (link->wants_time) length = (uint8_t)(length + tidegate__number_field(hello + length, 11, 1, 1));
  if (link->rate_count > 0) {
    hello[length++] = 12;
    hello[length++] = (uint8_t)(4 * link->rate_count);
    for (uint8_t index = 0; index < link->rate_count; index++) {
      for (uint8_t at = 0; at < 4; at++) hello[length++] = (uint8_t)(link->rates[index] >> (8 * at));
    }
  }
  tidegate__put_frame(link, type, 0, 0, hello, 0, length, length);
}

/* ---- Rates ---- */

static inline void tidegate__set_baud(tidegate_link *link, uint32_t baud) {
  link->is_trial = false;
  if (baud == link->baud) return;
  link->baud = baud;
  link->change_rate(link->io.context, baud);
}

static inline bool tidegate__is_raised(const tidegate_link *link) {
  return link->baud != link->start_baud;
}

/* The gateway asks for another rate: agrees at the present one, then goes. */
static inline void tidegate__on_baud(tidegate_link *link, const uint8_t *bytes, uint16_t length) {
  if (length != 4) return;
  const uint32_t baud = bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
  for (uint8_t index = 0; index < link->rate_count; index++) {
    if (link->rates[index] != baud) continue;
    tidegate__put_frame(link, TIDEGATE__BAUD, 0, link->next_seq, bytes, 0, 4, 4);
    tidegate__set_baud(link, baud);
    link->is_trial = true;
    link->trial_until = tidegate__now(link) + 500u;
    return;
  }
}

static inline void tidegate__on_time(tidegate_link *link, const uint8_t *bytes, uint16_t length, uint32_t now) {
  if (length < 9) return;
  link->time_ms = 0;
  for (uint8_t at = 8; at > 0; at--) link->time_ms = link->time_ms << 8 | bytes[at - 1];
  link->time_quality = bytes[8];
  link->time_at = now;
  link->has_time = true;
}

/* ---- Conversations ---- */

static inline void tidegate__seek(tidegate_link *link) {
  const uint32_t now = tidegate__now(link);
  uint32_t mixed = link->random += 0x9e3779b9u + now;
  mixed = (mixed ^ (mixed >> 16)) * 0x7feb352du;
  mixed = (mixed ^ (mixed >> 15)) * 0x846ca68bu;
  link->conversation = mixed ^ (mixed >> 16);
  tidegate__set_baud(link, link->start_baud);
  link->state = TIDEGATE__RESETTING;
  link->generation++;
  link->rx_count = 0;
  link->tx_count = 0;
  link->pulse_at = now;
}

typedef struct {
  uint32_t role, boot_id, conversation, mtu, credit, window;
} tidegate__hello;

/* What the gateway says of itself; false when it is no whole hello of a gateway. */
static inline bool tidegate__read_hello(const uint8_t *fields, uint16_t length, tidegate__hello *hello) {
  uint8_t seen = 0;
  hello->role = hello->boot_id = hello->conversation = hello->mtu = hello->credit = hello->window = 0;
  for (uint16_t at = 0; at < length;) {
    if (length - at < 2 || length - at - 2 < fields[at + 1]) return false;
    const uint8_t type = fields[at], bytes = fields[at + 1];
    uint32_t value = 0;
    for (uint8_t index = 0; index < bytes && index < 4; index++) {
      value |= (uint32_t)fields[at + 2 + index] << (8 * index);
    }
    at = (uint16_t)(at + 2 + bytes);
    if (bytes < 1 || bytes > 4) continue;
    if (type >= 2 && type <= 4) seen |= (uint8_t)(1u << type);
    if (type == 2) hello->role = value;
    if (type == 3) hello->boot_id = value;
    if (type == 4) hello->conversation = value;
    if (type == 6) hello->mtu = value;
    if (type == 7) hello->credit = value;
    if (type == 8) hello->window = value;
  }
  if (hello->mtu < 48) hello->mtu = 48;
  if (hello->credit < 64) hello->credit = 64;
  if (hello->window < 1) hello->window = 1;
  return seen == 0x1c && hello->role == 1;
}

static inline void tidegate__begin(tidegate_link *link, const tidegate__hello *peer) {
  tidegate__set_baud(link, link->start_baud);
  link->conversation = peer->conversation;
  link->peer_mtu = (uint16_t)(peer->mtu > 2048 ? 2048 : peer->mtu);
  link->peer_credit = (uint16_t)(peer->credit > 0xffff ? 0xffff : peer->credit);
  link->peer_window = (uint8_t)(peer->window > TIDEGATE_LINK_WINDOW ? TIDEGATE_LINK_WINDOW : peer->window);
  link->state = TIDEGATE__OPEN;
  link->generation++;
  link->expected_seq = link->unacked_count = 0;
  link->is_ack_due = link->is_nak_held = link->is_missing = link->is_full_told = false;
  link->rx_at = link->rx_count = 0;
  link->next_seq = link->flight_count = link->cursor = 0;
  link->timeout_count = link->reject_count = link->ping_count = 0;
  link->is_held = link->is_resend_armed = false;
  link->tx_at = link->tx_count = link->flight_bytes = 0;
  link->pulse_at = tidegate__now(link) + 2000u;
}

static inline void tidegate__on_hello(tidegate_link *link, uint8_t type, const uint8_t *fields, uint16_t length) {
  tidegate__hello peer;
  if (!tidegate__read_hello(fields, length, &peer)) return;
  const bool is_ours = peer.conversation == link->conversation;
  if (link->state == TIDEGATE__RESETTING) {
    /* While both ask, the device insists. */
    if (type == TIDEGATE__RST) tidegate__put_hello(link, TIDEGATE__RST);
    else if (is_ours) tidegate__begin(link, &peer);
    return;
  }
  if (type != TIDEGATE__RST) return;
  if (!is_ours) {
    /* What came before the end is read first; the gateway asks again. */
    if (link->rx_count > 0) return;
    tidegate__begin(link, &peer);
  }
  tidegate__put_hello(link, TIDEGATE__RSTACK);
}

/* ---- The stream out ---- */

static inline void tidegate__arm_resend(tidegate_link *link, uint32_t now) {
  link->is_resend_armed = link->flight_count > 0;
  if (!link->is_resend_armed) return;
  uint32_t wait = 4u * tidegate__line_ms(link, tidegate__wire_max(link, link->flight_length[0])) + 20u;
  const uint32_t lowest = wait < 100u ? 100u : wait;
  wait = lowest << link->timeout_count;
  if (wait > 2400u) wait = lowest > 2400u ? lowest : 2400u;
  link->resend_at = (tidegate__is_due(now, link->left_at[0]) ? now : link->left_at[0]) + wait;
}

static inline void tidegate__on_ack(tidegate_link *link, uint8_t ack, uint32_t now) {
  const uint8_t left = (uint8_t)(link->next_seq - ack);
  if (left >= link->flight_count) return;
  const uint8_t count = (uint8_t)(link->flight_count - left);
  if (!tidegate__is_fast(link) && link->timeout_count == 0 && link->reject_count == 0) {
    const uint32_t half = tidegate__line_ms(link, tidegate__wire_max(link, link->flight_length[count - 1])) / 2u;
    const bool is_early = !tidegate__is_due(now + (half > 2u ? half : 2u), link->left_at[count - 1]);
    link->early_count = (uint8_t)(is_early ? link->early_count + 1 : 0);
    if (tidegate__is_fast(link)) link->free_at = now;
  }
  for (uint8_t index = 0; index < link->flight_count; index++) {
    if (index < count) {
      const uint16_t length = link->flight_length[index];
      link->tx_at = (uint16_t)((link->tx_at + length) % TIDEGATE_LINK_TX);
      link->tx_count = (uint16_t)(link->tx_count - length);
      link->flight_bytes = (uint16_t)(link->flight_bytes - length);
    } else {
      link->flight_length[index - count] = link->flight_length[index];
      link->left_at[index - count] = link->left_at[index];
    }
  }
  link->flight_count = left;
  link->cursor = (uint8_t)(link->cursor > count ? link->cursor - count : 0);
  link->timeout_count = 0;
  link->reject_count = 0;
  tidegate__arm_resend(link, now);
}

static inline void tidegate__on_nak(tidegate_link *link, uint32_t now) {
  if (link->flight_count == 0 || link->cursor < link->flight_count || !tidegate__is_due(now, link->left_at[0])) return;
  if (++link->reject_count > 40) tidegate__seek(link);
  else link->cursor = 0;
}

static inline void tidegate__on_timeout(tidegate_link *link, uint32_t now) {
  link->early_count = 0;
  if (link->is_held) {
    tidegate__arm_resend(link, now);
  } else if (++link->timeout_count >= 6) {
    tidegate__seek(link);
  } else {
    link->is_resend_armed = false;
    link->cursor = 0;
  }
}

/* The length of the next new frame; 0 when window or credit take none. */
static inline uint16_t tidegate__next_length(const tidegate_link *link) {
  uint16_t length = (uint16_t)(link->tx_count - link->flight_bytes);
  const uint8_t overhead = tidegate__overhead(link);
  const uint16_t credit_most =
      (uint16_t)(link->peer_credit - overhead - 3u - ((uint32_t)link->peer_credit + 253u) / 254u);
  const uint16_t most = (uint16_t)(link->peer_mtu - overhead);
  uint32_t wire = 0;
  if (link->is_held || link->flight_count >= link->peer_window) return 0;
  if (length > most) length = most;
  if (length > credit_most) length = credit_most;
  for (uint8_t index = 0; index < link->flight_count; index++) {
    wire += tidegate__wire_max(link, link->flight_length[index]);
  }
  return link->flight_count > 0 && wire + tidegate__wire_max(link, length) > link->peer_credit ? 0 : length;
}

/* Sends what window and line take: first what goes again, then what is new. */
static inline void tidegate__fill(tidegate_link *link) {
  while (link->state == TIDEGATE__OPEN && (link->address == 0 || link->has_turn)) {
    const uint32_t now = tidegate__now(link);
    const bool is_again = link->cursor < link->flight_count;
    if (!tidegate__is_due(now + 12u, link->free_at)) return;
    if (!is_again) {
      const uint16_t length = tidegate__next_length(link);
      if (length == 0) return;
      link->flight_length[link->flight_count++] = length;
      link->flight_bytes = (uint16_t)(link->flight_bytes + length);
      link->next_seq++;
    }
    uint16_t at = link->tx_at;
    for (uint8_t index = 0; index < link->cursor; index++) at = (uint16_t)(at + link->flight_length[index]);
    const uint8_t seq = (uint8_t)(link->next_seq - link->flight_count + link->cursor);
    if (is_again) link->resent_count++;
    tidegate__put_frame(link, TIDEGATE__DATA, is_again ? TIDEGATE__RETRANSMITTED : 0, seq, link->tx,
                        (uint16_t)(at % TIDEGATE_LINK_TX), TIDEGATE_LINK_TX, link->flight_length[link->cursor]);
    link->left_at[link->cursor] = link->free_at;
    if (link->cursor++ == 0) tidegate__arm_resend(link, now);
  }
}

/* ---- The stream in ---- */

static inline void tidegate__reject(tidegate_link *link, bool is_repeat, uint32_t now) {
  if (link->is_nak_held && !is_repeat) return;
  link->is_nak_held = true;
  link->nak_held_until = now + 100u;
  tidegate__put_bare(link, TIDEGATE__NAK);
}

static inline void tidegate__on_data(tidegate_link *link, uint8_t flags, uint8_t seq, const uint8_t *bytes,
                                     uint16_t length, uint32_t now) {
  const uint8_t ahead = (uint8_t)(seq - link->expected_seq);
  if (ahead >= 0x80) {
    tidegate__put_bare(link, TIDEGATE__ACK);
    return;
  }
  if (ahead > 0) {
    /* A frame that found no room is asked for once there is room. */
    if (!link->is_missing) tidegate__reject(link, (flags & TIDEGATE__RETRANSMITTED) != 0, now);
    return;
  }
  if (length > TIDEGATE_LINK_RX - link->rx_count) {
    link->is_missing = true;
    return;
  }
  link->is_missing = false;
  link->is_nak_held = false;
  for (uint16_t index = 0; index < length; index++) {
    link->rx[(link->rx_at + link->rx_count++) % TIDEGATE_LINK_RX] = bytes[index];
  }
  link->expected_seq++;
  link->unacked_count++;
  if (!link->is_ack_due) link->ack_at = now + 20u;
  link->is_ack_due = true;
  if (link->unacked_count >= 2) link->ack_at = now;
}

/* Our turn on the bus: says what is due, and gives the turn back. What the last turn said is acknowledged or lost. */
static inline void tidegate__speak(tidegate_link *link, uint32_t now) {
  const uint16_t unsaid = link->unsaid;
  if (link->state == TIDEGATE__OPEN && link->flight_count > 0) tidegate__on_timeout(link, now);
  link->has_turn = true;
  link->unsaid = 0;
  if (link->state == TIDEGATE__RESETTING) {
    tidegate__put_hello(link, TIDEGATE__RST);
  } else {
    if (unsaid & 1u << TIDEGATE__RSTACK) tidegate__put_hello(link, TIDEGATE__RSTACK);
    for (uint8_t type = TIDEGATE__NAK; type <= TIDEGATE__PONG; type++) {
      if (unsaid & 1u << type) tidegate__put_bare(link, type);
    }
    if (unsaid & 1u << TIDEGATE__TIME) tidegate__put_bare(link, TIDEGATE__TIME);
    tidegate__fill(link);
  }
  tidegate__put_bare(link, TIDEGATE__TURN);
  link->has_turn = false;
}

static inline void tidegate__on_frame(tidegate_link *link) {
  const bool is_addressed = (link->frame[0] & TIDEGATE__ADDRESSED) != 0;
  const uint8_t *frame = link->frame + (is_addressed ? 1 : 0);
  const uint8_t type = link->frame[0] >> 4, flags = link->frame[0] & 7, seq = frame[1], ack = frame[2];
  const uint8_t *payload = frame + TIDEGATE__HEAD;
  const uint16_t length = (uint16_t)(link->frame_length - tidegate__overhead(link));
  const uint32_t now = tidegate__now(link);
  /* Also what others on the bus say, and what it brings back of us. */
  if (is_addressed ? link->address == 0 || link->frame[1] != link->address : link->address != 0) return;
  if (!is_addressed && !(flags & TIDEGATE__HOST)) return;
  if (type <= TIDEGATE__RSTACK) {
    tidegate__on_hello(link, type, payload, length);
    return;
  }
  if (link->state != TIDEGATE__OPEN) {
    if (type == TIDEGATE__TURN && link->address != 0 && link->state == TIDEGATE__RESETTING) tidegate__speak(link, now);
    return;
  }
  link->is_trial = false;
  if (type == TIDEGATE__ERR) {
    tidegate__seek(link);
    return;
  }
  link->pulse_at = now + 2000u;
  link->ping_count = 0;
  if (type == TIDEGATE__TIME) tidegate__on_time(link, payload, length, now);
  if (type == TIDEGATE__BAUD) tidegate__on_baud(link, payload, length);
  const bool is_turn = type == TIDEGATE__TURN && link->address != 0;
  if (type > TIDEGATE__PONG && !is_turn) return;
  link->is_held = (flags & TIDEGATE__NOT_READY) != 0;
  link->held_until = now + 1000u;
  tidegate__on_ack(link, ack, now);
  if (type == TIDEGATE__DATA) tidegate__on_data(link, flags, seq, payload, length, now);
  else if (type == TIDEGATE__NAK && link->address == 0) tidegate__on_nak(link, now);
  else if (type == TIDEGATE__PING) tidegate__put_bare(link, TIDEGATE__PONG);
  else if (is_turn) tidegate__speak(link, now);
}

/* true when what was taken in since the last delimiter is a frame. */
static inline bool tidegate__is_frame(const tidegate_link *link) {
  uint16_t crc = 0xffff;
  if (link->is_bad || link->code_left > 0 || link->frame_length < TIDEGATE__OVERHEAD) return false;
  if (link->frame_length == TIDEGATE__OVERHEAD && link->frame[0] & TIDEGATE__ADDRESSED) return false;
  for (uint16_t at = 0; at < link->frame_length - 2; at++) crc = tidegate__crc(crc, link->frame[at]);
  return link->frame[link->frame_length - 2] == (crc & 0xff) && link->frame[link->frame_length - 1] == crc >> 8;
}

static inline void tidegate__keep(tidegate_link *link, uint8_t byte) {
  if (link->frame_length < TIDEGATE_LINK_MTU) link->frame[link->frame_length++] = byte;
  else link->is_bad = true;
}

/* One byte of the line. */
static inline void tidegate__receive(tidegate_link *link, uint8_t byte) {
  if (byte == 0) {
    const bool is_anything = link->code != 0, is_frame = is_anything && tidegate__is_frame(link);
    if (is_frame) {
      tidegate__on_frame(link);
    } else if (is_anything) {
      link->garbage_count++;
      /* On a bus nobody knows whom it was for. */
      if (link->state == TIDEGATE__OPEN && !link->is_missing && link->address == 0) {
        tidegate__reject(link, false, tidegate__now(link));
      }
    }
    link->frame_length = link->code = link->code_left = 0;
    link->is_bad = false;
  } else if (link->code_left > 0) {
    link->code_left--;
    tidegate__keep(link, byte);
  } else {
    if (link->code != 0 && link->code != 0xff) tidegate__keep(link, 0);
    link->code = byte;
    link->code_left = (uint8_t)(byte - 1);
  }
}

/* ---- For the owner ---- */

/*
 * Begins to look for the gateway. `boot_id` is another number after each start of the board: from a hardware generator,
 * a counter in EEPROM, or noise of an open pin. The texts, at most 24 bytes of UTF-8, may be NULL and are not copied.
 */
static inline void tidegate_link_open(tidegate_link *link, const tidegate_io *io, uint32_t baud, uint32_t boot_id,
                                      uint8_t reset_reason, const char *device_id, const char *firmware) {
  link->io = *io;
  link->start_baud = link->baud = baud;
  link->change_rate = NULL;
  link->rates = NULL;
  link->rate_count = link->early_count = 0;
  link->is_trial = link->wants_time = link->has_time = false;
  link->boot_id = link->random = boot_id;
  link->reset_reason = reset_reason;
  link->address = 0;
  link->has_turn = false;
  link->unsaid = 0;
  link->device_id = device_id;
  link->firmware = firmware;
  link->generation = 0;
  link->frame_length = link->code = link->code_left = 0;
  link->is_bad = link->is_nak_held = false;
  link->rx_at = link->tx_at = 0;
  link->expected_seq = link->next_seq = 0;
  link->garbage_count = link->resent_count = 0;
  link->free_at = tidegate__now(link);
  tidegate__seek(link);
}

/*
 * Other rates that the UART can go to, at most four, for a gateway that is set to go faster: called after
 * tidegate_link_open() and before the first poll. The rates are not copied.
 */
static inline void tidegate_link_rates(tidegate_link *link, tidegate_change_rate change_rate, const uint32_t *rates,
                                       uint8_t count) {
  link->change_rate = change_rate;
  link->rates = rates;
  link->rate_count = (uint8_t)(count > TIDEGATE__RATES_MAX ? (int)TIDEGATE__RATES_MAX : count);
}

/*
 * One of several devices on a pair of wires (RS-485), 1 to 127, as the gateway is set: called after tidegate_link_open()
 * and before the first poll. The board speaks only in its turn: put() switches the driver on with the first byte of a
 * poll, and the board switches it off when the last one has left. BAUD, and LOG out of turn, are not for a bus.
 */
static inline void tidegate_link_address(tidegate_link *link, uint8_t address) {
  link->address = address;
}

/* Asks to be told the time with each conversation: called after tidegate_link_open() and before the first poll. */
static inline void tidegate_link_want_time(tidegate_link *link) {
  link->wants_time = true;
}

/* Asks for the time now; question and answer may be lost. */
static inline void tidegate_link_ask_time(tidegate_link *link) {
  if (link->state == TIDEGATE__OPEN) tidegate__put_bare(link, TIDEGATE__TIME);
}

/* What the gateway last said of the time, moved on to now; false when it has said nothing. Ask every few weeks. */
static inline bool tidegate_link_time(const tidegate_link *link, uint64_t *ms_since_1970, uint8_t *quality) {
  if (!link->has_time) return false;
  *ms_since_1970 = link->time_ms + (uint32_t)(tidegate__now(link) - link->time_at);
  *quality = link->time_quality;
  return true;
}

/* Takes what came, does what is due, sends what the line takes. Takes at most 256 bytes a call. */
static inline void tidegate_link_poll(tidegate_link *link) {
  const uint32_t begun = tidegate__now(link);
  if (link->is_nak_held && tidegate__is_due(begun, link->nak_held_until)) link->is_nak_held = false;
  for (uint16_t left = 256; link->state != TIDEGATE__CLOSED && left > 0; left--) {
    const int byte = link->io.get(link->io.context);
    if (byte < 0) break;
    tidegate__receive(link, (uint8_t)byte);
  }
  const uint32_t now = tidegate__now(link);
  if (link->state == TIDEGATE__OPEN) {
    if (link->is_held && tidegate__is_due(now, link->held_until)) link->is_held = false;
    if (link->is_resend_armed && link->address == 0 && tidegate__is_due(now, link->resend_at)) {
      tidegate__on_timeout(link, now);
    }
  }
  if (link->is_trial && tidegate__is_due(now, link->trial_until)) tidegate__set_baud(link, link->start_baud);
  if (link->state == TIDEGATE__OPEN && tidegate__is_due(now, link->pulse_at)) {
    if (link->ping_count == 3) {
      tidegate__seek(link);
    } else {
      link->ping_count++;
      link->pulse_at = now + (tidegate__is_raised(link) ? 250u : 2000u);
      tidegate__put_bare(link, TIDEGATE__PING);
    }
  }
  if (link->state == TIDEGATE__RESETTING && tidegate__is_due(now, link->pulse_at)) {
    link->pulse_at = now + 1000u;
    tidegate__put_hello(link, TIDEGATE__RST);
  }
  tidegate__fill(link);
  if (link->state != TIDEGATE__OPEN) return;
  const bool is_full = tidegate__is_full(link);
  if (!is_full && link->is_missing) {
    link->is_missing = false;
    tidegate__reject(link, true, now);
  } else if (is_full != link->is_full_told || (is_full && tidegate__is_due(now, link->full_told_at + 480u)) ||
             (link->is_ack_due && tidegate__is_due(now, link->ack_at))) {
    tidegate__put_bare(link, TIDEGATE__ACK);
  }
}

static inline bool tidegate_link_connected(const tidegate_link *link) {
  return link->state == TIDEGATE__OPEN;
}

/* Another number for another conversation: the stream of the one before is gone. */
static inline uint8_t tidegate_link_generation(const tidegate_link *link) {
  return link->generation;
}

/* Bytes that can be read. */
static inline uint16_t tidegate_link_available(const tidegate_link *link) {
  return link->rx_count;
}

/* Bytes that can be written. */
static inline uint16_t tidegate_link_writable(const tidegate_link *link) {
  return (uint16_t)(link->state == TIDEGATE__OPEN ? TIDEGATE_LINK_TX - link->tx_count : 0);
}

/* Bytes written that the gateway has not acknowledged. */
static inline uint16_t tidegate_link_unsent(const tidegate_link *link) {
  return link->tx_count;
}

/* The next byte of the stream without taking it, or -1. */
static inline int tidegate_link_peek(const tidegate_link *link) {
  return link->rx_count == 0 ? -1 : link->rx[link->rx_at];
}

/* Takes up to `length` bytes of the stream; answers how many. Never waits. */
static inline uint16_t tidegate_link_read(tidegate_link *link, uint8_t *to, uint16_t length) {
  uint16_t count = 0;
  for (; count < length && link->rx_count > 0; count++, link->rx_count--) {
    to[count] = link->rx[link->rx_at];
    link->rx_at = (uint16_t)((link->rx_at + 1u) % TIDEGATE_LINK_RX);
  }
  return count;
}

/* Adds up to `length` bytes to the stream; answers how many found room. They leave with the next poll. Never waits. */
static inline uint16_t tidegate_link_write(tidegate_link *link, const uint8_t *bytes, uint16_t length) {
  const uint16_t room = tidegate_link_writable(link);
  const uint16_t count = length < room ? length : room;
  for (uint16_t at = 0; at < count; at++) link->tx[(link->tx_at + link->tx_count++) % TIDEGATE_LINK_TX] = bytes[at];
  return count;
}

/* A line for people, outside of the stream; may be lost. Cut to what a frame of the smallest gateway takes. */
static inline void tidegate_link_log(tidegate_link *link, const char *text) {
  uint16_t length = 0;
  while (length < 43 && text[length] != 0) length++;
  if (link->state != TIDEGATE__CLOSED) {
    tidegate__put_frame(link, TIDEGATE__LOG, 0, link->next_seq, (const uint8_t *)text, 0, length, length);
  }
}

/* Ends the conversation, unsent bytes included, and asks for another one. */
static inline void tidegate_link_reset(tidegate_link *link) {
  if (link->state == TIDEGATE__CLOSED) return;
  /* At a raised rate the gateway would not hear a RST. */
  if (link->state == TIDEGATE__OPEN && tidegate__is_raised(link)) tidegate__put_bare(link, TIDEGATE__ERR);
  tidegate__seek(link);
}

/* Tells the gateway that the board goes, as before sleep. tidegate_link_open() begins anew. */
static inline void tidegate_link_leave(tidegate_link *link) {
  if (link->state == TIDEGATE__OPEN) tidegate__put_bare(link, TIDEGATE__ERR);
  tidegate__seek(link);
  link->state = TIDEGATE__CLOSED;
}

#endif
