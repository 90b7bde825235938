/*
 * The load of `npm run bench`, in a process of its own so that it takes nothing from the broker it measures:
 * publishers and subscribers on loopback TCP around one epoll. Prints one line of JSON.
 *
 *   pair    publisher i -> subscriber i          fanout  every subscriber gets every message
 *   fanin   every publisher -> one wildcard      idle    clients that connect and stay
 *
 * TCP may carry TLS (where it was compiled with OpenSSL) or WebSocket. Beside the load there may be other
 * subscriptions that no message matches: many that stay, or some that come and go all the time.
 *
 * Without a rate the load is a closed loop: no publisher has more than `window` messages under way, so that what is
 * measured is the broker and not the buffers in front of it. With a rate the window holds as well, unless it is 0:
 * latency is measured without one, as a load that waits for the broker would hide how slow it is. The first part of each run warms up and is not counted.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/ssl.h>
#endif

enum { CONNACK = 2, PUBLISH = 3, PUBACK = 4, PUBREC = 5, PUBREL = 6, PUBCOMP = 7, SUBACK = 9, UNSUBACK = 11 };
enum kind { PAIR, FANOUT, FANIN, IDLE };

/* Connections that may wait for their CONNACK at the same time. */
static const unsigned connecting_max = 100;
/* Bytes of one publisher that may wait for the kernel, and messages it adds before others have their turn. */
static const size_t output_bytes_max = 32768;
static const unsigned burst_max = 64;
static const double warm_up_s = 0.5, patience_s = 60, last_words_s = 2;
static const uint64_t ms = 1000000;

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
  /* WebSocket: framed bytes on their way; the frame that comes in: its header so far, what is left of its payload. */
  struct bytes framed;
  uint8_t frame_header[10];
  size_t frame_header_length, frame_left;
#ifdef WITH_TLS
  SSL *tls;
#endif
};

static struct {
  enum kind kind;
  unsigned port, publishers, subscribers, qos, size, window, version;
  double rate, seconds;
  pid_t broker;
  bool is_tls, is_websocket;
  /* Subscriptions that stay, and changes of subscriptions per second. */
  unsigned filters, changes;
  /* How long making those that stay may take. */
  double filter_seconds;
  /* First level of all topics. */
  const char *prefix;
} load = {.prefix = "bench", .publishers = 1, .subscribers = 1, .size = 64, .window = 100, .version = 4,
           .filter_seconds = 60, .seconds = 3};

static struct client *clients;
static unsigned client_count;
static int epoll;
static uint64_t published, received;
static unsigned connected, subscribed, held_filters;

/* In microseconds, of every message while `is_timing`. */
static bool is_timing;
static uint32_t *latencies;
static const size_t latency_count_max = 10000000;
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

static ssize_t write_some(struct client *client, const uint8_t *at, size_t count) {
#ifdef WITH_TLS
  if (client->tls != NULL) {
    int written = SSL_write(client->tls, at, count);
    if (written > 0) return written;
    errno = EAGAIN;
    int reason = SSL_get_error(client->tls, written);
    if (reason != SSL_ERROR_WANT_WRITE && reason != SSL_ERROR_WANT_READ) errno = EPROTO;
    return -1;
  }
#endif
  return write(client->fd, at, count);
}

static ssize_t read_some(struct client *client, uint8_t *at, size_t count) {
#ifdef WITH_TLS
  if (client->tls != NULL) {
    int taken = SSL_read(client->tls, at, count);
    if (taken > 0) return taken;
    int reason = SSL_get_error(client->tls, taken);
    if (reason == SSL_ERROR_ZERO_RETURN) return 0;
    errno = reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
    return -1;
  }
#endif
  return read(client->fd, at, count);
}

/* Everything that waits becomes one binary message. A mask of zeros is a mask, and leaves the bytes as they are. */
static void append_frame(struct client *client) {
  size_t length = client->out.length;
  if (length == 0) return;
  append_byte(&client->framed, 0x82);
  if (length < 126) {
    append_byte(&client->framed, 0x80 | length);
  } else {
    append_byte(&client->framed, 0x80 | 127);
    for (int shift = 56; shift >= 0; shift -= 8) append_byte(&client->framed, length >> shift);
  }
  append(&client->framed, "\0\0\0\0", 4);
  append(&client->framed, client->out.at, length);
  client->out.length = 0;
}

/* Takes the frame headers out of what came; answers the bytes that are left. */
static size_t unframe(struct client *client, uint8_t *at, size_t count) {
  size_t kept = 0;
  for (size_t from = 0; from < count;) {
    if (client->frame_left > 0) {
      size_t part = client->frame_left < count - from ? client->frame_left : count - from;
      memmove(at + kept, at + from, part);
      kept += part;
      from += part;
      client->frame_left -= part;
      continue;
    }
    uint8_t *header = client->frame_header;
    header[client->frame_header_length++] = at[from++];
    size_t needed = client->frame_header_length < 2 || header[1] < 126 ? 2 : header[1] == 126 ? 4 : 10;
    if (client->frame_header_length < needed) continue;
    if (header[0] != 0x82) errx(1, "unexpected frame 0x%02x", header[0]);
    size_t length = needed == 2 ? header[1] : 0;
    for (size_t i = 2; i < needed; i++) length = length << 8 | header[i];
    client->frame_left = length;
    client->frame_header_length = 0;
  }
  return kept;
}

/* Sends what waits, as far as the kernel takes it. */
static void flush(struct client *client) {
  if (load.is_websocket) append_frame(client);
  struct bytes *out = load.is_websocket ? &client->framed : &client->out;
  size_t sent = 0;
  while (sent < out->length) {
    ssize_t count = write_some(client, out->at + sent, out->length - sent);
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
  static char topic[64];
  unsigned index = (client - clients) - (client->is_publisher ? load.subscribers : 0);
  const char *rest = load.kind == FANOUT ? "all" : load.kind == FANIN && !client->is_publisher ? "#" : NULL;
  if (rest != NULL) snprintf(topic, sizeof topic, "%s/%s", load.prefix, rest);
  else snprintf(topic, sizeof topic, "%s/%u/value", load.prefix, index);
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
  case UNSUBACK:
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
  ssize_t count = read_some(client, chunk + in->length, sizeof chunk - in->length);
  if (count < 0 && errno == EAGAIN) return;
  if (count < 0) err(1, "read");
  if (count == 0) errx(1, "the broker closed a connection");
  if (load.is_websocket) count = unframe(client, chunk + in->length, count);
  size_t total = in->length + count, taken = take_packets(client, chunk, total);
  in->length = 0;
  append(in, chunk + taken, total - taken);
#ifdef WITH_TLS
  /* What OpenSSL has read already does not show at the socket. */
  if (client->tls != NULL && SSL_pending(client->tls) > 0) {
    take_input(client);
    return;
  }
#endif
  if (client->out.length > 0) flush(client);
}

static void wait_for_events(uint64_t timeout_ns) {
  struct epoll_event events[512];
  struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
  int count = epoll_pwait2(epoll, events, 512, &timeout, NULL);
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
    wait_for_events(20 * ms);
  }
}

/* The handshakes block: there are few such clients, and they are not measured. */
static void shake_hands(struct client *client) {
  fcntl(client->fd, F_SETFL, 0);
#ifdef WITH_TLS
  if (load.is_tls) {
    static SSL_CTX *context;
    if (context == NULL) context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    client->tls = SSL_new(context);
    SSL_set_fd(client->tls, client->fd);
    if (SSL_connect(client->tls) != 1) errx(1, "no TLS");
  }
#else
  if (load.is_tls) errx(1, "compiled without TLS");
#endif
  if (load.is_websocket) {
    static const char request[] = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    if (write_some(client, (const uint8_t *)request, sizeof request - 1) < 0) err(1, "write");
    char answer[2048] = {0};
    for (size_t length = 0; strstr(answer, "\r\n\r\n") == NULL; length++)
      if (length == sizeof answer - 1 || read_some(client, (uint8_t *)answer + length, 1) != 1) errx(1, "no answer");
    if (strncmp(answer, "HTTP/1.1 101", 12) != 0) errx(1, "no WebSocket: %s", answer);
  }
  fcntl(client->fd, F_SETFL, O_NONBLOCK);
}

static void open_client(struct client *client) {
  bool has_handshake = load.is_tls || load.is_websocket;
  client->fd = socket(AF_INET, SOCK_STREAM | (has_handshake ? 0 : SOCK_NONBLOCK), 0);
  if (client->fd < 0) err(1, "socket");
  int on = 1;
  setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(load.port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) err(1, "connect");
  if (has_handshake) shake_hands(client);
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

/* Without a window nothing holds back a load with a rate: that is how latency is measured. */
static bool is_full(const struct client *client) {
  if (load.window == 0) return false;
  return load.qos > 0 ? client->inflight >= load.window
                      : published * fan() >= received + (uint64_t)load.window * load.publishers * fan();
}

static void fill_window(struct client *client) {
  for (unsigned n = 0; n < burst_max && client->out.length + client->framed.length < output_bytes_max; n++) {
    if (is_full(client)) return;
    publish(client);
  }
}

/*
 * After a pause it is behind, and catches up as far as its window allows.
 * @return in how many ns its next message is due
 */
static uint64_t keep_rate(struct client *client, uint64_t passed_ns) {
  double per_ns = load.rate / load.publishers / 1e9;
  client->credit += passed_ns * per_ns;
  for (; client->credit >= 1 && !is_full(client); client->credit--) publish(client);
  return client->credit < 1 ? (1 - client->credit) / per_ns : ms;
}

/* One filter in ten has a wildcard. Device 0 and what is below are never published to. */
static void write_filter(char *text, size_t size, unsigned index) {
  const char *end = index % 10 > 0 ? "state" : index % 20 > 0 ? "+" : "#";
  snprintf(text, size, "site/%u/device-%u/%s", index % 1000, index, end);
}

/* SUBSCRIBE to, or UNSUBSCRIBE from, the filters from `first` on. */
static void send_filters(struct client *client, unsigned first, unsigned count, bool is_subscribe) {
  struct bytes body = {0};
  append(&body, "\x00\x02", 2);
  if (load.version == 5) append_byte(&body, 0);
  for (unsigned i = 0; i < count; i++) {
    char filter[64];
    write_filter(filter, sizeof filter, first + i);
    append_string(&body, filter);
    if (is_subscribe) append_byte(&body, 0);
  }
  append_packet(&client->out, is_subscribe ? 0x82 : 0xa2, &body);
  free(body.at);
  flush(client);
}

/*
 * The first subscribers hold them, so that no client has all. Those that are not made in time stay away.
 * @return what the broker holds for each, in bytes
 */
static double hold_filters(void) {
  static const unsigned at_once = 500;
  long before_kb = broker_resident_kb();
  unsigned goal = subscribed;
  uint64_t start = now_ns();
  while (held_filters < load.filters && since_s(start) < load.filter_seconds) {
    unsigned left = load.filters - held_filters, count = left < at_once ? left : at_once;
    send_filters(&clients[held_filters / at_once % load.subscribers], held_filters, count, true);
    wait_until(&subscribed, ++goal, "subscriptions are made");
    held_filters += count;
  }
  return (broker_resident_kb() - before_kb) * 1024.0 / held_filters;
}

/* Wildcard filters beyond those that stay come and go in turn. */
static void change_subscriptions(double passed_s) {
  static double due;
  static unsigned next;
  for (due += passed_s * load.changes; due >= 1; due--, next++)
    send_filters(&clients[0], load.filters + next / 2 % 1000 * 10, 1, next % 2 == 0);
}

static void run_for(double seconds) {
  uint64_t start = now_ns(), last = start;
  while (since_s(start) < seconds) {
    uint64_t now = now_ns();
    uint64_t pause_ns = load.rate > 0 ? ms : 0;
    if (load.changes > 0) change_subscriptions((now - last) / 1e9);
    for (struct client *client = clients + load.subscribers; client < clients + client_count; client++) {
      if (load.rate > 0) {
        uint64_t due_ns = keep_rate(client, now - last);
        if (due_ns < pause_ns) pause_ns = due_ns;
      } else {
        fill_window(client);
      }
      if (client->out.length > 0 && !client->wants_write) flush(client);
    }
    last = now;
    /* A message leaves when it is due, whenever answers come: else a quick broker would be sent less at a time. */
    wait_for_events(pause_ns);
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
  for (start = now_ns(); since_s(start) < load.seconds;) wait_for_events(100 * ms);
  printf("{\"connectsPerSecond\":%.0f,\"kbPerConnection\":%.3f}\n", client_count / connecting_s,
         (double)(broker_resident_kb() - empty_kb) / client_count);
}

static void measure_messages(void) {
  connect_all();
  for (unsigned i = 0; i < load.subscribers; i++) send_subscribe(&clients[i]);
  wait_until(&subscribed, load.subscribers, "clients are subscribed");
  double filter_bytes = load.filters > 0 ? hold_filters() : 0;
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
  for (start = now_ns(); received < expected && since_s(start) < last_words_s;) {
    uint64_t before = received;
    wait_for_events(20 * ms);
    if (received > before) start = now_ns();
  }
  qsort(latencies, latency_count, sizeof *latencies, compare);
  printf("{\"messagesPerSecond\":%.0f,\"cpuUsPerMessage\":%.3f,\"p50Us\":%u,\"p99Us\":%u,\"missing\":%llu,"
         "\"bytesPerSubscription\":%.0f,\"filtersNotMade\":%u}\n",
         count / passed_s, count > 0 ? cpu_s * 1e6 / count : 0, percentile(0.5), percentile(0.99),
         (unsigned long long)(expected - received), filter_bytes, load.filters - held_filters);
}

static enum kind kind_of(const char *name) {
  static const char *const names[] = {"pair", "fanout", "fanin", "idle"};
  for (unsigned i = 0; i < 4; i++)
    if (strcmp(name, names[i]) == 0) return i;
  errx(2, "no such kind: %s", name);
}

int main(int argc, char **argv) {
  /* The system would be up to 50 us late otherwise. */
  prctl(PR_SET_TIMERSLACK, 1);
  for (int option; (option = getopt(argc, argv, "k:p:b:P:S:q:s:w:v:r:t:T:f:l:u:n:")) != -1;) {
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
    case 'T':
      load.is_tls = strcmp(optarg, "tls") == 0;
      load.is_websocket = strcmp(optarg, "ws") == 0;
      break;
    case 'n': load.prefix = optarg; break;
    case 'f': load.filters = atoi(optarg); break;
    case 'l': load.filter_seconds = atof(optarg); break;
    case 'u': load.changes = atoi(optarg); break;
    case 't': load.seconds = atof(optarg); break;
    default:
      errx(2, "-k pair|fanout|fanin|idle -p port -b broker pid [-P publishers] [-S subscribers] [-q qos] [-s bytes, 8 or"
              " more] [-w window] [-v 4|5] [-r messages/s] [-t seconds] [-T tcp|tls|ws] [-f other subscriptions]"
              " [-l seconds to make them] [-u changes of subscriptions/s] [-n first topic level]");
    }
  }
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  client_count = load.publishers + load.subscribers;
  clients = calloc(client_count, sizeof *clients);
  double expected_count = load.rate * load.seconds * 2;
  latency_capacity = expected_count < latency_count_max ? expected_count : latency_count_max;
  latencies = malloc(latency_capacity * sizeof *latencies + 1);
  epoll = epoll_create1(0);
  if (clients == NULL || latencies == NULL || epoll < 0) err(1, "set-up");
  if (load.kind == IDLE) measure_idle();
  else measure_messages();
  return 0;
}
