/* A device on standard input and output that gives back every byte of the stream; with an argument, at this address. */
#define _POSIX_C_SOURCE 200809L
#include "../tidegate_link.h"
#include "posix-line.h"

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

int main(int count, char **arguments) {
  const tidegate_io io = {NULL, put, get, millis};
  tidegate_link link;
  tidegate_link_open(&link, &io, 115200, (uint32_t)getpid(), TIDEGATE_RESET_POWER_ON, "echo", "echo-c");
  if (count > 1) tidegate_link_address(&link, (uint8_t)strtoul(arguments[1], NULL, 10));
  tidegate_link_log(&link, "echo starts");
  for (;;) {
    uint8_t byte;
    tidegate_link_poll(&link);
    while (tidegate_link_writable(&link) > 0 && tidegate_link_read(&link, &byte, 1) == 1) {
      tidegate_link_write(&link, &byte, 1);
    }
    posix_line_wait();
  }
}
