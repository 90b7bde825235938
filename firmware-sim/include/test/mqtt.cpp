// An MQTT 3.1.1 client over the Client interface of Arduino, used as PubSubClient and arduino-mqtt use it: connect with a
// host and a port, available() and read() byte by byte, whole packets with write(). Subscribes to its own topic, publishes
// with QoS 1, one at a time and again after a while or in another connection, and ends 0 when all have come back in order.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../TidegateClient.h"
#include "posix-stream.h"

class SmallMqtt {
public:
  int acknowledged = 0, received = 0, repeated = 0, connections = 0;

  explicit SmallMqtt(Client &client) : _client(client) {}

  bool loop(int count) {
    if (!_client.connected()) return begin();
    for (int type; (type = readPacket()) > 0;) take(type);
    if (_isSubscribed && acknowledged < count && (_sent == acknowledged || millis() - _sentMs > 3000)) publish();
    return true;
  }

private:
  bool begin() {
    static const uint8_t hello[] = {0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', 4, 0, 0, 60, 0, 2, 'c', '1'};
    _isSubscribed = false;
    _sent = acknowledged;
    if (!_client.connect("gateway", 1883)) return false;
    connections++;
    return say(hello, sizeof hello);
  }

  void take(int type) {
    static const uint8_t subscribe[] = {0x82, 8, 0, 1, 0, 3, 'd', '/', 'c', 1};
    if (type >> 4 == 2) {
      if (_packet[1] != 0) exit(3);
      say(subscribe, sizeof subscribe);
    } else if (type >> 4 == 9) {
      _isSubscribed = _packet[2] == 1;
    } else if (type >> 4 == 4) {
      if (number(_packet) == acknowledged + 1) acknowledged++;
    } else if (type >> 4 == 3) {
      const uint8_t answer[] = {0x40, 2, _packet[5], _packet[6]};
      const int n = number(_packet + 7);
      if (n == received + 1) received++;
      else if (n <= received) repeated++;
      else exit(4);
      say(answer, sizeof answer);
    }
  }

  void publish() {
    uint8_t packet[64] = {0x32, 62, 0, 3, 'd', '/', 'c'};
    const int n = acknowledged + 1;
    if (_sent == n) packet[0] |= 8;
    for (int at = 7; at <= 9; at += 2) {
      packet[at] = static_cast<uint8_t>(n >> 8);
      packet[at + 1] = static_cast<uint8_t>(n);
    }
    say(packet, sizeof packet);
    _sent = n;
    _sentMs = millis();
  }

  // A packet that did not fit in time ends the connection, as half of it is nothing.
  bool say(const uint8_t *bytes, size_t length) {
    if (_client.write(bytes, length) == length) return true;
    _client.stop();
    return false;
  }

  // The first byte, or 0 when nothing is there; the rest is in _packet. Packets here are shorter than 128 bytes.
  int readPacket() {
    if (_client.available() <= 0) return 0;
    const int type = _client.read();
    const int length = readByte();
    for (int at = 0; at < length; at++) _packet[at] = static_cast<uint8_t>(readByte());
    return _client.connected() ? type : 0;
  }

  int readByte() {
    while (_client.connected() && _client.available() <= 0) yield();
    return _client.read();
  }

  static int number(const uint8_t *bytes) { return bytes[0] << 8 | bytes[1]; }

  Client &_client;
  uint8_t _packet[128];
  bool _isSubscribed = false;
  int _sent = 0;
  unsigned long _sentMs = 0;
};

int main(int, char **argv) {
  const int count = atoi(argv[1]);
  PosixStream line;
  TidegateClient client(line, 115200, static_cast<uint32_t>(getpid()), TIDEGATE_RESET_POWER_ON, "c1", "mqtt-shim");
  client.begin();
  SmallMqtt mqtt(client);
  while (mqtt.acknowledged < count || mqtt.received < count) {
    mqtt.loop(count);
    yield();
  }
  fprintf(stderr, "%d acknowledged, %d received, %d repeated, %d connections\n", mqtt.acknowledged, mqtt.received,
          mqtt.repeated, mqtt.connections);
  client.stop();
  return mqtt.repeated > mqtt.connections - 1;
}
