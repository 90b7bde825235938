/*
 * Any MQTT client behind a serial line: takes TCP connections on 127.0.0.1, one at a time, and carries their bytes
 * through the serial link in C over a tty. To the client this is a broker, to the gateway it is a device. A
 * conversation of the link is a connection of the client: when one ends, so does the other.
 *
 *   gcc -std=c99 -o relay firmware-sim/c-device/relay.c
 *   ./relay /dev/ttyUSB0 115200 s1        prints the port, then serves until it is killed
 */
#define _DEFAULT_SOURCE
#define _POSIX_C_SOURCE 200809L
#define TIDEGATE_LINK_MTU 256
#define TIDEGATE_LINK_RX 768
#define TIDEGATE_LINK_TX 768
#define TIDEGATE_LINK_WINDOW 3
#include "../include/tidegate_link.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* The link has no timer shorter than this. */
enum { WAIT_MS = 5, PIECE_MAX = 256 };

static int tty;
static uint8_t out[1024];
static size_t out_count;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void flush_out(void) {
  for (size_t at = 0; at < out_count;) {
    const ssize_t count = write(tty, out + at, out_count - at);
    if (count < 0) fail("tty");
    at += (size_t)count;
  }
  out_count = 0;
}

static void put(void *context, uint8_t byte) {
  (void)context;
  out[out_count++] = byte;
  if (out_count == sizeof out) flush_out();
}

static int get(void *context) {
  static uint8_t bytes[PIECE_MAX];
  static ssize_t at, count;
  struct pollfd input = {tty, POLLIN, 0};
  (void)context;
  if (at == count) {
    at = count = 0;
    if (poll(&input, 1, 0) <= 0) return -1;
    count = read(tty, bytes, sizeof bytes);
    if (count <= 0) fail("tty");
  }
  return bytes[at++];
}

static uint32_t millis(void *context) {
  struct timespec now;
  (void)context;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint32_t)now.tv_sec * 1000u + (uint32_t)(now.tv_nsec / 1000000);
}

static speed_t speed_of(uint32_t baud) {
  switch (baud) {
    case 9600: return B9600;
    case 19200: return B19200;
    case 38400: return B38400;
    case 57600: return B57600;
    case 115200: return B115200;
    case 230400: return B230400;
    default:
      fprintf(stderr, "baud rates: 9600 19200 38400 57600 115200 230400\n");
      exit(2);
  }
}

static int open_tty(const char *path, speed_t speed) {
  struct termios line;
  const int opened = open(path, O_RDWR | O_NOCTTY);
  if (opened < 0 || tcgetattr(opened, &line) != 0) fail(path);
  cfmakeraw(&line);
  cfsetispeed(&line, speed);
  cfsetospeed(&line, speed);
  if (tcsetattr(opened, TCSANOW, &line) != 0) fail(path);
  return opened;
}

static int listen_somewhere(void) {
  struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof place;
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (listener < 0 || bind(listener, (struct sockaddr *)&place, sizeof place) != 0 || listen(listener, 4) != 0 ||
      getsockname(listener, (struct sockaddr *)&place, &length) != 0) {
    fail("listen");
  }
  printf("%u\n", ntohs(place.sin_port));
  fflush(stdout);
  return listener;
}

/* What the gateway sent to the client; false when the client is gone. */
static bool downward(tidegate_link *link, int client) {
  uint8_t bytes[PIECE_MAX];
  uint16_t length;
  while ((length = tidegate_link_read(link, bytes, sizeof bytes)) > 0) {
    if (send(client, bytes, length, MSG_NOSIGNAL) != length) return false;
  }
  return true;
}

/* What the client sent to the gateway, as far as the link has room; false when the client is gone. */
static bool upward(tidegate_link *link, int client) {
  uint8_t bytes[PIECE_MAX];
  struct pollfd input = {client, POLLIN, 0};
  uint16_t room;
  while ((room = tidegate_link_writable(link)) > 0 && poll(&input, 1, 0) > 0) {
    const ssize_t count = recv(client, bytes, room < sizeof bytes ? room : sizeof bytes, 0);
    if (count <= 0) return false;
    tidegate_link_write(link, bytes, (uint16_t)count);
  }
  return true;
}

int main(int count, char **arguments) {
  const tidegate_io io = {NULL, put, get, millis};
  static tidegate_link link;
  int listener, client = -1;
  bool is_leaving = false;
  uint8_t generation = 0;
  if (count != 4) {
    fprintf(stderr, "usage: relay TTY BAUD DEVICE-ID\n");
    return 2;
  }
  const uint32_t baud = (uint32_t)strtoul(arguments[2], NULL, 10);
  tty = open_tty(arguments[1], speed_of(baud));
  listener = listen_somewhere();
  tidegate_link_open(&link, &io, baud, millis(NULL) ^ (uint32_t)getpid() << 16, TIDEGATE_RESET_POWER_ON, arguments[3],
                     "relay");
  for (;;) {
    struct pollfd inputs[3] = {{tty, POLLIN, 0}, {-1, POLLIN, 0}, {-1, POLLIN, 0}};
    tidegate_link_poll(&link);
    if (client >= 0 && tidegate_link_generation(&link) != generation) {
      close(client);
      client = -1;
      is_leaving = false;
    }
    if (client >= 0 && !is_leaving) is_leaving = !downward(&link, client) || !upward(&link, client);
    /* What the client said last, DISCONNECT perhaps, has to arrive before the conversation may end. */
    if (is_leaving && tidegate_link_unsent(&link) == 0) tidegate_link_reset(&link);
    tidegate_link_poll(&link);
    flush_out();
    inputs[1].fd = client < 0 && tidegate_link_connected(&link) ? listener : -1;
    inputs[2].fd = client >= 0 && !is_leaving && tidegate_link_writable(&link) > 0 ? client : -1;
    if (poll(inputs, 3, WAIT_MS) > 0 && (inputs[1].revents & POLLIN)) {
      client = accept(listener, NULL, NULL);
      generation = tidegate_link_generation(&link);
    }
  }
}
