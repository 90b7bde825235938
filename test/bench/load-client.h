/* A client of MQTT 3.1.1 on loopback TCP, as small as the loads of the benches need it. */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNACK = 2, PUBLISH = 3, PUBACK = 4, SUBACK = 9 };

struct client {
  int fd;
  unsigned inflight;
  uint16_t packet_id;
  uint8_t in[262144];
  size_t in_length;
};

static double now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

static void send_all(struct client *client, const void *bytes, size_t length) {
  for (const uint8_t *at = bytes; length > 0;) {
    ssize_t done = write(client->fd, at, length);
    if (done <= 0) err(1, "write");
    at += done;
    length -= (size_t)done;
  }
}

/* The next whole packet, or NULL; `*used` is what stands before and in it. */
static uint8_t *next_packet(struct client *client, size_t *used, size_t *head, size_t *length) {
  size_t left = client->in_length - *used, value = 0, shift = 0, at = 1;
  uint8_t *packet = client->in + *used;
  if (left < 2) return NULL;
  for (;; at++) {
    if (at >= left) return NULL;
    value |= (size_t)(packet[at] & 127) << shift;
    shift += 7;
    if (packet[at] < 128) break;
  }
  *head = at + 1;
  *length = *head + value;
  if (left < *length) return NULL;
  *used += *length;
  return packet;
}

static void fill(struct client *client) {
  ssize_t done = read(client->fd, client->in + client->in_length, sizeof client->in - client->in_length);
  if (done <= 0) errx(1, "the broker closed the connection");
  client->in_length += (size_t)done;
}

static void keep_rest(struct client *client, size_t used) {
  memmove(client->in, client->in + used, client->in_length - used);
  client->in_length -= used;
}

static struct client *open_client(unsigned port, const char *id, int is_clean) {
  struct client *client = calloc(1, sizeof *client);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  int yes = 1;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  client->fd = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0) err(1, "connect");
  uint8_t packet[64] = {0x10, 0, 0, 4, 'M', 'Q', 'T', 'T', 4, is_clean ? 2 : 0, 0, 0, 0, (uint8_t)strlen(id)};
  packet[1] = (uint8_t)(12 + strlen(id));
  memcpy(packet + 14, id, strlen(id));
  send_all(client, packet, 14 + strlen(id));
  while (client->in_length < 4) fill(client);
  if (client->in[0] >> 4 != CONNACK || client->in[3] != 0) errx(1, "refused");
  keep_rest(client, 4);
  return client;
}
