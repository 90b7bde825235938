/*
 * What arrives above in `npm run bench:bridge`, MQTT 3.1.1 on loopback TCP. The last line that it prints is JSON.
 *
 *   collect PORT COUNT SECONDS  takes `s/#`, whose payloads begin with a number (store-load.c, publish), until COUNT
 *                               numbers came or nothing for SECONDS; prints `begun` when the first is there
 *   live FROM TO RATE TOPIC     sends RATE messages a second at port FROM and takes them at port TO, until SIGTERM
 *   relay TO                    prints a port and carries bytes between it and port TO: a link that SIGUSR1 cuts and
 *                               SIGUSR2 mends, and that takes next to nothing of the processors
 */
#include <pthread.h>
#include <signal.h>
#include "../load-client.h"

enum { TOPICS_MAX = 1000, LIVE_MAX = 1000000, RELAYED_MAX = 100 };

static volatile sig_atomic_t is_over;

static void on_term(int number) {
  (void)number;
  is_over = 1;
}

static void subscribe(struct client *client, const char *filter) {
  size_t length = strlen(filter);
  uint8_t packet[64] = {0x82, (uint8_t)(5 + length), 0, 1, 0, (uint8_t)length};
  memcpy(packet + 6, filter, length);
  packet[6 + length] = 1;
  send_all(client, packet, 7 + length);
  while (client->in_length < 5) fill(client);
  if (client->in[0] >> 4 != SUBACK || client->in[4] > 1) errx(1, "subscription refused");
  keep_rest(client, 5);
}

/* Where the payload of a PUBLISH begins; its acknowledgement, where it wants one, is added to `out`. */
static const uint8_t *payload_of(const uint8_t *packet, size_t head, uint8_t *out, size_t *out_length) {
  size_t topic_length = (size_t)(packet[head] << 8 | packet[head + 1]);
  const uint8_t *behind = packet + head + 2 + topic_length;
  if ((packet[0] & 6) == 0) return behind;
  const uint8_t ack[] = {0x40, 2, behind[0], behind[1]};
  memcpy(out + *out_length, ack, sizeof ack);
  *out_length += sizeof ack;
  return behind + 2;
}

static void collect(unsigned port, unsigned count, double patience_s) {
  static uint8_t out[262144];
  static uint32_t latest[TOPICS_MAX];
  struct client *client = open_client(port, "collector", 1);
  uint8_t *seen = calloc(1, count);
  unsigned received = 0, distinct = 0, late = 0;
  double first = 0, last = 0, begin = now_s();
  subscribe(client, "s/#");
  while (distinct < count) {
    size_t used = 0, head, length, out_length = 0;
    struct pollfd wait = {.fd = client->fd, .events = POLLIN};
    if (poll(&wait, 1, 500) < 0) err(1, "poll");
    if ((wait.revents & (POLLIN | POLLHUP)) == 0) {
      if (now_s() - (received > 0 ? last : begin) > patience_s) break;
      continue;
    }
    fill(client);
    for (uint8_t *packet; (packet = next_packet(client, &used, &head, &length)) != NULL;) {
      uint32_t number;
      if (packet[0] >> 4 != PUBLISH) continue;
      memcpy(&number, payload_of(packet, head, out, &out_length), sizeof number);
      unsigned topic = (unsigned)atoi((const char *)packet + head + 4) % TOPICS_MAX;
      if (number + 1 < latest[topic]) late++;
      else latest[topic] = number + 1;
      if (number < count && !seen[number]) {
        seen[number] = 1;
        distinct++;
      }
      received++;
    }
    last = now_s();
    if (first == 0 && received > 0) {
      first = last;
      puts("begun");
      fflush(stdout);
    }
    keep_rest(client, used);
    if (out_length > 0) send_all(client, out, out_length);
  }
  printf("{\"received\":%u,\"distinct\":%u,\"late\":%u,\"seconds\":%.4f}\n", received, distinct, late, last - first);
}

static int rising(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

static void live(unsigned from, unsigned to, double rate, const char *topic) {
  static double took_us[LIVE_MAX];
  static uint8_t out[65536];
  char above[16], below[16];
  signal(SIGTERM, on_term);
  snprintf(above, sizeof above, "a%d", (int)getpid());
  snprintf(below, sizeof below, "b%d", (int)getpid());
  struct client *subscriber = open_client(to, above, 1), *publisher = open_client(from, below, 1);
  struct pollfd waits[] = {{.fd = subscriber->fd, .events = POLLIN}, {.fd = publisher->fd, .events = POLLIN}};
  size_t topic_length = strlen(topic), used, head, length;
  unsigned sent = 0, received = 0;
  subscribe(subscriber, topic);
  for (double start = now_s(), end = 0; end == 0 || (received < sent && now_s() - end < 30);) {
    if (is_over && end == 0) end = now_s();
    for (; end == 0 && sent < (now_s() - start) * rate; sent++) {
      uint8_t packet[128] = {0x32, (uint8_t)(4 + topic_length + 64), 0, (uint8_t)topic_length};
      double now = now_s();
      memcpy(packet + 4, topic, topic_length);
      packet[4 + topic_length] = (uint8_t)((sent % 60000 + 1) >> 8);
      packet[5 + topic_length] = (uint8_t)(sent % 60000 + 1);
      memcpy(packet + 6 + topic_length, &now, sizeof now);
      send_all(publisher, packet, 6 + topic_length + 64);
    }
    if (poll(waits, 2, 1) < 0 && !is_over) err(1, "poll");
    if ((waits[1].revents & POLLIN) != 0) {
      fill(publisher);
      publisher->in_length = 0;
    }
    if ((waits[0].revents & (POLLIN | POLLHUP)) == 0) continue;
    size_t out_length = 0;
    used = 0;
    fill(subscriber);
    for (uint8_t *packet; (packet = next_packet(subscriber, &used, &head, &length)) != NULL;) {
      double then;
      if (packet[0] >> 4 != PUBLISH) continue;
      memcpy(&then, payload_of(packet, head, out, &out_length), sizeof then);
      if (received < LIVE_MAX) took_us[received++] = (now_s() - then) * 1e6;
    }
    keep_rest(subscriber, used);
    if (out_length > 0) send_all(subscriber, out, out_length);
  }
  qsort(took_us, received, sizeof *took_us, rising);
  printf("{\"sent\":%u,\"received\":%u,\"p50Us\":%.0f,\"p99Us\":%.0f}\n", sent, received,
         received > 0 ? took_us[received / 2] : 0, received > 0 ? took_us[received * 99 / 100] : 0);
}

/* Both ends of what was ever relayed; they stay open until the end. */
static int relayed[RELAYED_MAX][2];
static volatile sig_atomic_t relayed_count, is_cut;

static void on_cut(int number) {
  is_cut = number == SIGUSR1;
  for (int i = 0; is_cut && i < relayed_count; i++)
    for (int side = 0; side < 2; side++) shutdown(relayed[i][side], SHUT_RDWR);
}

/* One direction. */
static void *carry(void *from) {
  static __thread uint8_t bytes[65536];
  int *side = from, *other = relayed[(side - relayed[0]) / 2] + 1 - (side - relayed[0]) % 2;
  for (ssize_t length; (length = read(*side, bytes, sizeof bytes)) > 0;)
    for (ssize_t at = 0, sent; at < length; at += sent)
      if ((sent = send(*other, bytes + at, (size_t)(length - at), MSG_NOSIGNAL)) < 0) return NULL;
  shutdown(*other, SHUT_RDWR);
  return NULL;
}

static void relay(unsigned to) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  if (bind(listener, (void *)&address, length) < 0 || listen(listener, 8) < 0) err(1, "listen");
  getsockname(listener, (void *)&address, &length);
  signal(SIGUSR1, on_cut);
  signal(SIGUSR2, on_cut);
  printf("%u\n", ntohs(address.sin_port));
  fflush(stdout);
  address.sin_port = htons((uint16_t)to);
  for (;;) {
    int below = accept(listener, NULL, NULL), above = socket(AF_INET, SOCK_STREAM, 0);
    if (below < 0) err(1, "accept");
    if (is_cut || connect(above, (void *)&address, sizeof address) < 0) {
      close(below);
      close(above);
      continue;
    }
    if (relayed_count == RELAYED_MAX) errx(1, "too many connections");
    int *sides = relayed[relayed_count];
    sides[0] = below;
    sides[1] = above;
    relayed_count++;
    for (int side = 0; side < 2; side++) {
      pthread_t thread;
      setsockopt(sides[side], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      if (pthread_create(&thread, NULL, carry, &sides[side]) != 0) errx(1, "no thread");
    }
  }
}

int main(int count, char **words) {
  if (count == 5 && strcmp(words[1], "collect") == 0)
    collect((unsigned)atoi(words[2]), (unsigned)atoi(words[3]), atof(words[4]));
  else if (count == 6 && strcmp(words[1], "live") == 0)
    live((unsigned)atoi(words[2]), (unsigned)atoi(words[3]), atof(words[4]), words[5]);
  else if (count == 3 && strcmp(words[1], "relay") == 0) relay((unsigned)atoi(words[2]));
  else errx(2, "see the top of this file");
  return 0;
}
