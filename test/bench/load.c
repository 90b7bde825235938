/*
 * The load of `npm run bench`, in a process of its own so that it takes nothing from the broker it measures:
 * publishers and subscribers on loopback TCP around one epoll. Prints one line of JSON.
 *
 *   pair    publisher i -> subscriber i          fanout  every subscriber gets every message
 *   fanin   every publisher -> one wildcard      idle    clients that connect and stay
 *
 * Without a rate the load is a closed loop: no publisher has more than `window` messages under way, so that what is
 * measured is the broker and not the buffers in front of it. The first part of each run warms up and is not counted.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNACK = 2, PUBLISH = 3, PUBACK = 4, PUBREC = 5, PUBREL = 6, PUBCOMP = 7, SUBACK = 9 };
enum kind { PAIR, FANOUT, FANIN, IDLE };

/* Connections that may wait for their CONNACK at the same time. */
static const unsigned connecting_max = 100;
/* Bytes of one publisher that may wait for the kernel, and messages it adds before others have their turn. */
static const size_t output_bytes_max = 32768;
static const unsigned burst_max = 64;
static const double warm_up_s = 0.5, patience_s = 60, last_words_s = 2;

struct bytes {
  uint8_t *at;
  size_t length, capacity;
};

struct client {
  int fd;
  bool is_publisher, wants_write;
  uint16_t packet_id;
  unsigned inflight;
  double credit;
  /* A PUBLISH that only lacks packet id and time. */
  struct bytes message;
  /* A packet that has not arrived whole; bytes that the kernel has not taken. */
  struct bytes in, out;
};

static struct {
  enum kind kind;
  unsigned port, publishers, subscribers, qos, size, window, version;
  double rate, seconds;
  pid_t broker;
} load = {.publishers = 1, .subscribers = 1, .size = 64, .window = 100, .version = 4, .seconds = 3};

static struct client *clients;
static unsigned client_count;
static int epoll;
static uint64_t published, received;
static unsigned connected, subscribed;

/* In microseconds, of every message while `is_timing`. */
static bool is_timing;
static uint32_t *latencies;
static size_t latency_count, latency_capacity;

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static double since_s(uint64_t start_ns) { return (now_ns() - start_ns) / 1e9; }

static void append(struct bytes *bytes, const void *more, size_t count) {
  if (bytes->length + count > bytes->capacity) {
    bytes->capacity = 2 * (bytes->length + count);
    bytes->at = realloc(bytes->at, bytes->capacity);
    if (bytes->at == NULL) err(1, "realloc");
  }
  memcpy(bytes->at + bytes->length, more, count);
  bytes->length += count;
}

static void append_byte(struct bytes *bytes, uint8_t byte) { append(bytes, &byte, 1); }

static void append_string(struct bytes *bytes, const char *text) {
  append_byte(bytes, strlen(text) >> 8);
  append_byte(bytes, strlen(text));
  append(bytes, text, strlen(text));
}

static void append_packet(struct bytes *out, uint8_t header, const struct bytes *body) {
  append_byte(out, header);
  size_t rest = body->length;
  do {
    append_byte(out, rest % 128 | (rest > 127 ? 128 : 0));
    rest /= 128;
  } while (rest > 0);
  append(out, body->at, body->length);
}

/* Sends what waits, as far as the kernel takes it. */
static void flush(struct client *client) {
  struct bytes *out = &client->out;
  size_t sent = 0;
  while (sent < out->length) {
    ssize_t count = write(client->fd, out->at + sent, out->length - sent);
    if (count < 0 && errno == EAGAIN) break;
    if (count < 0) err(1, "write");
    sent += count;
  }
  memmove(out->at, out->at + sent, out->length - sent);
  out->length -= sent;
  bool wants_write = out->length > 0;
  if (wants_write == client->wants_write) return;
  client->wants_write = wants_write;
  struct epoll_event event = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0), .data.ptr = client};
  epoll_ctl(epoll, EPOLL_CTL_MOD, client->fd, &event);
}

static const char *topic_of(const struct client *client) {
  static char topic[32];
  unsigned index = (client - clients) - (client->is_publisher ? load.subscribers : 0);
  if (load.kind == FANOUT) return "bench/all";
  if (load.kind == FANIN && !client->is_publisher) return "bench/#";
  snprintf(topic, sizeof topic, "bench/%u/value", index);
  return topic;
}

static void send_connect(struct client *client) {
  struct bytes body = {0};
  char client_id[32];
  snprintf(client_id, sizeof client_id, "load-%d-%ld", getpid(), (long)(client - clients));
  append_string(&body, "MQTT");
  append_byte(&body, load.version);
  append(&body, "\x02\x00\x00", 3); /* clean session, no keep alive */
  if (load.version == 5) append_byte(&body, 0);
  append_string(&body, client_id);
  append_packet(&client->out, 0x10, &body);
  free(body.at);
  flush(client);
}

static void send_subscribe(struct client *client) {
  struct bytes body = {0};
  append(&body, "\x00\x01", 2);
  if (load.version == 5) append_byte(&body, 0);
  append_string(&body, topic_of(client));
  append_byte(&body, load.qos);
  append_packet(&client->out, 0x82, &body);
  free(body.at);
  flush(client);
}

/* Packet id and time stand at fixed distances from the end. */
static void make_message(struct client *client) {
  struct bytes body = {0};
  append_string(&body, topic_of(client));
  if (load.qos > 0) append(&body, "\x00\x00", 2);
  if (load.version == 5) append_byte(&body, 0);
  for (unsigned i = 0; i < load.size; i++) append_byte(&body, 'x');
  append_packet(&client->message, 0x30 | load.qos << 1, &body);
  free(body.at);
}

static void publish(struct client *client) {
  struct bytes *out = &client->out;
  append(out, client->message.at, client->message.length);
  uint8_t *payload = out->at + out->length - load.size;
  uint64_t time = now_ns();
  memcpy(payload, &time, sizeof time);
  if (load.qos > 0) {
    uint8_t *id = payload - (load.version == 5 ? 3 : 2);
    if (++client->packet_id == 0) client->packet_id = 1;
    id[0] = client->packet_id >> 8;
    id[1] = client->packet_id;
  }
  client->inflight++;
  published++;
}

static void acknowledge(struct client *client, uint8_t header, const uint8_t *packet_id) {
  uint8_t packet[] = {header, 2, packet_id[0], packet_id[1]};
  append(&client->out, packet, sizeof packet);
}

static void take_message(struct client *client, unsigned qos, const uint8_t *body, size_t length) {
  received++;
  if (is_timing && latency_count < latency_capacity) {
    uint64_t time;
    memcpy(&time, body + length - load.size, sizeof time);
    latencies[latency_count++] = (now_ns() - time) / 1000;
  }
  const uint8_t *packet_id = body + 2 + (body[0] << 8 | body[1]);
  if (qos == 1) acknowledge(client, 0x40, packet_id);
  if (qos == 2) acknowledge(client, 0x50, packet_id);
}

static void take_packet(struct client *client, uint8_t header, const uint8_t *body, size_t length) {
  switch (header >> 4) {
  case CONNACK:
    if (body[1] != 0) errx(1, "refused with code %d", body[1]);
    connected++;
    break;
  case SUBACK:
    subscribed++;
    break;
  case PUBLISH:
    take_message(client, header >> 1 & 3, body, length);
    break;
  case PUBREC:
    acknowledge(client, 0x62, body);
    break;
  case PUBREL:
    acknowledge(client, 0x70, body);
    break;
  case PUBACK:
  case PUBCOMP:
    client->inflight--;
    break;
  default:
    errx(1, "unexpected packet 0x%02x", header);
  }
}

/* Takes the whole packets at `at`; answers the bytes they had. */
static size_t take_packets(struct client *client, const uint8_t *at, size_t count) {
  size_t start = 0;
  for (;;) {
    size_t length = 0, body = start + 1, shift = 0;
    do {
      if (body >= count) return start;
      length |= (size_t)(at[body] & 127) << shift;
      shift += 7;
    } while (at[body++] & 128);
    if (count - body < length) return start;
    take_packet(client, at[start], at + body, length);
    start = body + length;
  }
}

static void take_input(struct client *client) {
  static uint8_t chunk[262144];
  struct bytes *in = &client->in;
  memcpy(chunk, in->at, in->length);
  ssize_t count = read(client->fd, chunk + in->length, sizeof chunk - in->length);
  if (count < 0 && errno == EAGAIN) return;
  if (count < 0) err(1, "read");
  if (count == 0) errx(1, "the broker closed a connection");
  size_t total = in->length + count, taken = take_packets(client, chunk, total);
  in->length = 0;
  append(in, chunk + taken, total - taken);
  if (client->out.length > 0) flush(client);
}

static void wait_for_events(int timeout_ms) {
  struct epoll_event events[512];
  int count = epoll_wait(epoll, events, 512, timeout_ms);
  for (int i = 0; i < count; i++) {
    struct client *client = events[i].data.ptr;
    if (events[i].events & EPOLLOUT) flush(client);
    if (events[i].events & ~EPOLLOUT) take_input(client);
  }
}

/* Waits until `*counter` reaches `goal`. */
static void wait_until(const unsigned *counter, unsigned goal, const char *what) {
  for (uint64_t start = now_ns(); *counter < goal;) {
    if (since_s(start) > patience_s) errx(1, "only %u of %u %s", *counter, goal, what);
    wait_for_events(20);
  }
}

static void open_client(struct client *client) {
  client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (client->fd < 0) err(1, "socket");
  int on = 1;
  setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(load.port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) err(1, "connect");
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = client};
  client->wants_write = true;
  epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event);
}

static void connect_all(void) {
  for (unsigned i = 0; i < client_count; i++) {
    struct client *client = &clients[i];
    client->is_publisher = i >= load.subscribers;
    open_client(client);
    /* A socket that is not connected yet answers EAGAIN, and sends when it is. */
    send_connect(client);
    if (i + 1 >= connecting_max) wait_until(&connected, i + 1 - connecting_max, "clients are connected");
  }
  wait_until(&connected, client_count, "clients are connected");
}

/* Seconds of the broker on a processor. */
static double broker_cpu_s(void) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", load.broker);
  FILE *file = fopen(path, "r");
  if (file == NULL) err(1, "%s", path);
  size_t length = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[length] = 0;
  unsigned long user, kernel;
  if (sscanf(strrchr(text, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) != 2)
    errx(1, "%s is not as expected", path);
  return (double)(user + kernel) / sysconf(_SC_CLK_TCK);
}

static long broker_resident_kb(void) {
  char path[64], line[256];
  snprintf(path, sizeof path, "/proc/%d/status", load.broker);
  FILE *file = fopen(path, "r");
  if (file == NULL) err(1, "%s", path);
  long kb = 0;
  while (fgets(line, sizeof line, file) != NULL && sscanf(line, "VmRSS: %ld", &kb) != 1) continue;
  fclose(file);
  return kb;
}

static uint64_t fan(void) { return load.kind == FANOUT ? load.subscribers : 1; }

static void fill_window(struct client *client) {
  for (unsigned n = 0; n < burst_max && client->out.length < output_bytes_max; n++) {
    bool is_full = load.qos > 0 ? client->inflight >= load.window
                                : published * fan() >= received + (uint64_t)load.window * load.publishers * fan();
    if (is_full) return;
    publish(client);
  }
}

static void keep_rate(struct client *client, double passed_s) {
  client->credit += passed_s * load.rate / load.publishers;
  for (; client->credit >= 1; client->credit--) publish(client);
}

static void run_for(double seconds) {
  uint64_t start = now_ns(), last = start;
  while (since_s(start) < seconds) {
    uint64_t now = now_ns();
    for (struct client *client = clients + load.subscribers; client < clients + client_count; client++) {
      if (load.rate > 0) keep_rate(client, (now - last) / 1e9);
      else fill_window(client);
      if (client->out.length > 0 && !client->wants_write) flush(client);
    }
    last = now;
    wait_for_events(load.rate > 0 ? 1 : 0);
  }
}

static int compare(const void *a, const void *b) {
  uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
  return (left > right) - (left < right);
}

static uint32_t percentile(double part) {
  return latency_count == 0 ? 0 : latencies[(size_t)(part * (latency_count - 1))];
}

static void measure_idle(void) {
  long empty_kb = broker_resident_kb();
  uint64_t start = now_ns();
  connect_all();
  double connecting_s = since_s(start);
  for (start = now_ns(); since_s(start) < load.seconds;) wait_for_events(100);
  printf("{\"connectsPerSecond\":%.0f,\"kbPerConnection\":%.3f}\n", client_count / connecting_s,
         (double)(broker_resident_kb() - empty_kb) / client_count);
}

static void measure_messages(void) {
  connect_all();
  for (unsigned i = 0; i < load.subscribers; i++) send_subscribe(&clients[i]);
  wait_until(&subscribed, load.subscribers, "clients are subscribed");
  for (unsigned i = load.subscribers; i < client_count; i++) {
    make_message(&clients[i]);
    /* Publishers with a rate take turns. */
    clients[i].credit = (double)(i - load.subscribers) / load.publishers;
  }
  run_for(warm_up_s);
  is_timing = load.rate > 0;
  uint64_t start = now_ns(), received_before = received;
  double cpu_before_s = broker_cpu_s();
  run_for(load.seconds);
  double passed_s = since_s(start), cpu_s = broker_cpu_s() - cpu_before_s;
  uint64_t count = received - received_before;
  is_timing = false;
  uint64_t expected = published * fan();
  for (start = now_ns(); received < expected && since_s(start) < last_words_s;) wait_for_events(20);
  qsort(latencies, latency_count, sizeof *latencies, compare);
  printf("{\"messagesPerSecond\":%.0f,\"cpuUsPerMessage\":%.3f,\"p50Us\":%u,\"p99Us\":%u,\"missing\":%llu}\n",
         count / passed_s, cpu_s * 1e6 / count, percentile(0.5), percentile(0.99),
         (unsigned long long)(expected - received));
}

static enum kind kind_of(const char *name) {
  static const char *const names[] = {"pair", "fanout", "fanin", "idle"};
  for (unsigned i = 0; i < 4; i++)
    if (strcmp(name, names[i]) == 0) return i;
  errx(2, "no such kind: %s", name);
}

int main(int argc, char **argv) {
  for (int option; (option = getopt(argc, argv, "k:p:b:P:S:q:s:w:v:r:t:")) != -1;) {
    switch (option) {
    case 'k': load.kind = kind_of(optarg); break;
    case 'p': load.port = atoi(optarg); break;
    case 'b': load.broker = atoi(optarg); break;
    case 'P': load.publishers = atoi(optarg); break;
    case 'S': load.subscribers = atoi(optarg); break;
    case 'q': load.qos = atoi(optarg); break;
    case 's': load.size = atoi(optarg); break;
    case 'w': load.window = atoi(optarg); break;
    case 'v': load.version = atoi(optarg); break;
    case 'r': load.rate = atof(optarg); break;
    case 't': load.seconds = atof(optarg); break;
    default:
      errx(2, "-k pair|fanout|fanin|idle -p port -b broker pid [-P publishers] [-S subscribers] [-q qos] [-s bytes, 8 or"
              " more] [-w window] [-v 4|5] [-r messages/s] [-t seconds]");
    }
  }
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  client_count = load.publishers + load.subscribers;
  clients = calloc(client_count, sizeof *clients);
  latency_capacity = load.rate > 0 ? load.rate * load.seconds * 2 : 0;
  latencies = malloc(latency_capacity * sizeof *latencies + 1);
  epoll = epoll_create1(0);
  if (clients == NULL || latencies == NULL || epoll < 0) err(1, "set-up");
  if (load.kind == IDLE) measure_idle();
  else measure_messages();
  return 0;
}
