/*
 * The serial link of a board in C, as a program of its own. Standard input and output are the UART. On descriptor 3 it
 * is told what the firmware above wants, on 4 it says what the link has for it, both as
 *
 *   verb, generation, two bytes of length (low byte first), bytes
 *
 *   in: B the stream's next bytes, R begin anew, L a line for people        out: U a conversation began, D it ended, B
 *
 * The generation names the conversation: bytes for one that is over are dropped.
 * Arguments: baud rate, boot id, number of the reset reason, device id, firmware.
 */
#define _POSIX_C_SOURCE 200809L
#include "../include/tidegate_link.h"
#include "../include/test/posix-line.h"

enum { IN = 3, OUT = 4, HEAD = 4, PENDING_MAX = 65536, PIECE_MAX = 256 };

static uint8_t pending[PENDING_MAX];
static size_t pending_count;

static void put(void *context, uint8_t byte) {
  (void)context;
  posix_line_put(byte);
}

static int get(void *context) {
  (void)context;
  return posix_line_get();
}

static uint32_t millis(void *context) {
  (void)context;
  return posix_line_millis();
}

static void say(char verb, uint8_t generation, const uint8_t *bytes, uint16_t length) {
  uint8_t message[HEAD + PIECE_MAX] = {(uint8_t)verb, generation, (uint8_t)length, (uint8_t)(length >> 8)};
  size_t at = 0;
  for (uint16_t index = 0; index < length; index++) message[HEAD + index] = bytes[index];
  while (at < HEAD + (size_t)length) {
    const ssize_t count = write(OUT, message + at, HEAD + length - at);
    if (count <= 0) exit(0);
    at += (size_t)count;
  }
}

/* What the firmware wants, kept until there is room for it. */
static void hear(void) {
  struct pollfd input = {IN, POLLIN, 0};
  while (pending_count < sizeof pending && poll(&input, 1, 0) > 0) {
    const ssize_t count = read(IN, pending + pending_count, sizeof pending - pending_count);
    if (count <= 0) exit(0);
    pending_count += (size_t)count;
  }
}

static void forget(size_t count) {
  for (size_t at = count; at < pending_count; at++) pending[at - count] = pending[at];
  pending_count -= count;
}

static void obey(tidegate_link *link) {
  while (pending_count >= HEAD) {
    const uint16_t length = (uint16_t)(pending[2] | pending[3] << 8);
    const bool is_current = pending[1] == tidegate_link_generation(link) && tidegate_link_connected(link);
    if (pending_count < HEAD + (size_t)length) return;
    if (pending[0] == 'B' && is_current) {
      const uint16_t taken = tidegate_link_write(link, pending + HEAD, length);
      if (taken < length) {
        /* The rest stays, as a shorter message of the same kind. */
        for (uint16_t at = 0; at < length - taken; at++) pending[HEAD + at] = pending[HEAD + taken + at];
        for (size_t at = HEAD + (size_t)length; at < pending_count; at++) pending[at - taken] = pending[at];
        pending_count -= taken;
        pending[2] = (uint8_t)(length - taken);
        pending[3] = (uint8_t)((length - taken) >> 8);
        return;
      }
    } else if (pending[0] == 'L') {
      char text[64];
      uint16_t at = 0;
      for (; at < length && at + 1u < sizeof text; at++) text[at] = (char)pending[HEAD + at];
      text[at] = 0;
      tidegate_link_log(link, text);
    } else if (pending[0] == 'R' && is_current) {
      tidegate_link_reset(link);
    }
    forget(HEAD + (size_t)length);
  }
}

int main(int count, char **arguments) {
  const tidegate_io io = {NULL, put, get, millis};
  tidegate_link link;
  bool was_up = false;
  uint8_t generation;
  if (count < 6) return 2;
  tidegate_link_open(&link, &io, (uint32_t)strtoul(arguments[1], NULL, 10), (uint32_t)strtoul(arguments[2], NULL, 10),
                     (uint8_t)strtoul(arguments[3], NULL, 10), arguments[4], arguments[5]);
  generation = tidegate_link_generation(&link);
  for (;;) {
    uint8_t bytes[PIECE_MAX];
    uint16_t length;
    tidegate_link_poll(&link);
    if (was_up && tidegate_link_generation(&link) != generation) {
      was_up = false;
      say('D', generation, NULL, 0);
    }
    generation = tidegate_link_generation(&link);
    if (!was_up && tidegate_link_connected(&link)) {
      was_up = true;
      say('U', generation, NULL, 0);
    }
    while ((length = tidegate_link_read(&link, bytes, sizeof bytes)) > 0) say('B', generation, bytes, length);
    hear();
    obey(&link);
    tidegate_link_poll(&link);
    posix_line_wait();
  }
}
