/* Standard input and output as a UART, for host programs over the link. */
#ifndef POSIX_LINE_H
#define POSIX_LINE_H

#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint8_t posix_line_out[512];
static size_t posix_line_out_count;

static uint32_t posix_line_millis(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint32_t)now.tv_sec * 1000u + (uint32_t)(now.tv_nsec / 1000000);
}

static void posix_line_flush(void) {
  size_t at = 0;
  while (at < posix_line_out_count) {
    const ssize_t count = write(STDOUT_FILENO, posix_line_out + at, posix_line_out_count - at);
    if (count < 0) exit(0);
    at += (size_t)count;
  }
  posix_line_out_count = 0;
}

static void posix_line_put(uint8_t byte) {
  posix_line_out[posix_line_out_count++] = byte;
  if (posix_line_out_count == sizeof posix_line_out) posix_line_flush();
}

/* The next byte or -1; the program ends with its input. */
static int posix_line_get(void) {
  static uint8_t bytes[256];
  static ssize_t at, count;
  struct pollfd input = {STDIN_FILENO, POLLIN, 0};
  if (at == count) {
    at = count = 0;
    if (poll(&input, 1, 0) <= 0) return -1;
    count = read(STDIN_FILENO, bytes, sizeof bytes);
    if (count <= 0) exit(0);
  }
  return bytes[at++];
}

/* Until something comes, at most for two milliseconds. */
static void posix_line_wait(void) {
  struct pollfd input = {STDIN_FILENO, POLLIN, 0};
  posix_line_flush();
  (void)poll(&input, 1, 2);
}

#endif
