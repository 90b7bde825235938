/*
 * The load of `npm run bench:store`, MQTT 3.1.1 on loopback TCP. Prints one line of JSON.
 *
 *   leave PORT                           makes the durable session `away` on `s/#`, QoS 1, and goes
 *   publish PORT COUNT CONNECTIONS SIZE SECONDS RATE
 *                                        QoS 1 to `s/i`, 100 under way on each connection; ends after COUNT messages
 *                                        that are acknowledged, or SECONDS; RATE messages a second, 0 = all it takes
 *   drain PORT COUNT                     `away` is back, acknowledges COUNT messages and goes
 */
#include "load-client.h"

enum { WINDOW = 100, CONNECTIONS_MAX = 1000 };

static void leave(unsigned port) {
  struct client *client = open_client(port, "away", 0);
  const uint8_t subscribe[] = {0x82, 8, 0, 1, 0, 3, 's', '/', '#', 1}, disconnect[] = {0xe0, 0};
  send_all(client, subscribe, sizeof subscribe);
  while (client->in_length < 5) fill(client);
  send_all(client, disconnect, sizeof disconnect);
  close(client->fd);
  puts("{}");
}

static void publish(unsigned port, unsigned count, unsigned connections, unsigned size, double seconds, double rate) {
  static struct client *clients[CONNECTIONS_MAX];
  static struct pollfd waits[CONNECTIONS_MAX];
  static uint8_t out[WINDOW * 4096];
  unsigned sent = 0, acknowledged = 0;
  for (unsigned i = 0; i < connections; i++) {
    char id[16];
    snprintf(id, sizeof id, "p%u", i);
    clients[i] = open_client(port, id, 1);
    waits[i] = (struct pollfd){.fd = clients[i]->fd, .events = POLLIN};
  }
  double start = now_s(), last = start;
  while (acknowledged < count && now_s() - start < seconds) {
    double due = rate > 0 ? (now_s() - start) * rate : count;
    for (unsigned i = 0; i < connections; i++) {
      struct client *client = clients[i];
      size_t length = 0;
      while (client->inflight < WINDOW && sent < count && sent < due) {
        char topic[16];
        size_t topic_length = (size_t)snprintf(topic, sizeof topic, "s/%u", i), rest = 4 + topic_length + size;
        out[length++] = 0x32;
        for (size_t value = rest;; value >>= 7) {
          out[length++] = (uint8_t)((value & 127) | (value > 127 ? 128 : 0));
          if (value <= 127) break;
        }
        if (++client->packet_id == 0) client->packet_id = 1;
        out[length++] = 0;
        out[length++] = (uint8_t)topic_length;
        memcpy(out + length, topic, topic_length);
        length += topic_length;
        out[length++] = (uint8_t)(client->packet_id >> 8);
        out[length++] = (uint8_t)client->packet_id;
        memset(out + length, 'x', size);
        memcpy(out + length, &sent, size < sizeof sent ? size : sizeof sent);
        length += size;
        client->inflight++;
        sent++;
      }
      if (length > 0) send_all(client, out, length);
    }
    if (poll(waits, connections, rate > 0 ? 1 : 100) < 0) err(1, "poll");
    for (unsigned i = 0; i < connections; i++) {
      struct client *client = clients[i];
      size_t used = 0, head, packet_length;
      if ((waits[i].revents & (POLLIN | POLLHUP)) == 0) continue;
      fill(client);
      for (uint8_t *packet; (packet = next_packet(client, &used, &head, &packet_length)) != NULL;) {
        if (packet[0] >> 4 != PUBACK) continue;
        client->inflight--;
        acknowledged++;
        last = now_s();
      }
      keep_rest(client, used);
    }
  }
  printf("{\"acknowledged\":%u,\"seconds\":%.4f}\n", acknowledged, last - start);
}

static void drain(unsigned port, unsigned count) {
  static uint8_t out[262144];
  double start = now_s();
  struct client *client = open_client(port, "away", 0);
  unsigned received = 0;
  while (received < count) {
    size_t used = 0, head, packet_length, length = 0;
    fill(client);
    for (uint8_t *packet; (packet = next_packet(client, &used, &head, &packet_length)) != NULL;) {
      if (packet[0] >> 4 != PUBLISH) continue;
      size_t topic_length = (size_t)(packet[head] << 8 | packet[head + 1]);
      out[length++] = 0x40;
      out[length++] = 2;
      memcpy(out + length, packet + head + 2 + topic_length, 2);
      length += 2;
      received++;
    }
    keep_rest(client, used);
    if (length > 0) send_all(client, out, length);
  }
  printf("{\"received\":%u,\"seconds\":%.4f}\n", received, now_s() - start);
}

int main(int count, char **words) {
  unsigned number[7] = {0};
  for (int i = 2; i < count && i < 9; i++) number[i - 2] = (unsigned)atoi(words[i]);
  if (count == 3 && strcmp(words[1], "leave") == 0) leave(number[0]);
  else if (count == 8 && strcmp(words[1], "publish") == 0)
    publish(number[0], number[1], number[2], number[3], atof(words[6]), atof(words[7]));
  else if (count == 4 && strcmp(words[1], "drain") == 0) drain(number[0], number[1]);
  else errx(2, "see the top of this file");
  return 0;
}
