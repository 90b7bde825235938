/*
 * The serial link as an Arduino Client, so that PubSubClient, arduino-mqtt and others run over a UART unchanged:
 *
 *   TidegateClient client(Serial1, 115200, bootId, TIDEGATE_RESET_POWER_ON, "s1", "thermo 1.2");
 *   PubSubClient mqtt(client);
 *   void setup() { Serial1.begin(115200); client.begin(); mqtt.setServer("gateway", 1883); }
 *
 * The server name and port that the MQTT library passes are ignored: the gateway is at the other end of the wire.
 * `loop()` of the MQTT library polls the link through available(). A sketch that is busy for longer calls poll().
 */
#ifndef TIDEGATE_CLIENT_H
#define TIDEGATE_CLIENT_H

#include <Arduino.h>
#include <Client.h>

#include "tidegate_link.h"

class TidegateClient : public Client {
public:
  /* The texts are not copied: they outlive the client. */
  TidegateClient(Stream &line, uint32_t baud, uint32_t bootId, uint8_t resetReason, const char *deviceId,
                 const char *firmware)
      : _line(line), _baud(baud), _bootId(bootId), _resetReason(resetReason), _deviceId(deviceId),
        _firmware(firmware) {}

  /* After the line has begun, and before anything else. */
  void begin() {
    const tidegate_io io = {this, putByte, getByte, now};
    tidegate_link_open(&_link, &io, _baud, _bootId, _resetReason, _deviceId, _firmware);
    _isUsed = false;
  }

  /*
   * Other rates of the UART, after begin(). `change` waits until everything has left and sets the rate:
   *   void change(uint32_t baud) { Serial1.flush(); Serial1.begin(baud); }
   */
  void rates(void (*change)(uint32_t baud), const uint32_t *rates, uint8_t count) {
    _change = change;
    tidegate_link_rates(&_link, changeRate, rates, count);
  }

  /* After begin(): the gateway tells the time with each conversation. */
  void wantTime() { tidegate_link_want_time(&_link); }

  /* Milliseconds since 1970; 0 when the gateway has not told it. */
  uint64_t time() const {
    uint64_t ms = 0;
    uint8_t quality;
    return tidegate_link_time(&_link, &ms, &quality) ? ms : 0;
  }

  void poll() { tidegate_link_poll(&_link); }

  /* A line for people in the log of the gateway. */
  void log(const char *text) { tidegate_link_log(&_link, text); }

  /* Waits for a conversation that was not used yet; 0 when there is none within the time limit of Stream. */
  int connect(IPAddress, uint16_t) override { return connectLink(); }
  int connect(const char *, uint16_t) override { return connectLink(); }

  size_t write(uint8_t byte) override { return write(&byte, 1); }

  /* Waits for room while the conversation lasts, up to the time limit of Stream. */
  size_t write(const uint8_t *bytes, size_t length) override {
    size_t written = 0;
    const unsigned long begunMs = millis();
    while (written < length && isLive()) {
      const size_t left = length - written;
      written += tidegate_link_write(&_link, bytes + written, left > 0x4000 ? 0x4000 : (uint16_t)left);
      if (written == length) break;
      if (millis() - begunMs >= getTimeout()) break;
      poll();
      yield();
    }
    return written;
  }

  int available() override {
    poll();
    return isLive() ? tidegate_link_available(&_link) : 0;
  }

  int read() override {
    uint8_t byte;
    return read(&byte, 1) == 1 ? byte : -1;
  }

  int read(uint8_t *to, size_t length) override {
    if (!isLive()) return -1;
    const uint16_t count = tidegate_link_read(&_link, to, length > 0x4000 ? 0x4000 : (uint16_t)length);
    return count > 0 ? count : -1;
  }

  int peek() override { return isLive() ? tidegate_link_peek(&_link) : -1; }

  /* Waits until everything written is acknowledged, up to the time limit of Stream. */
  void flush() override {
    const unsigned long begunMs = millis();
    while (isLive() && tidegate_link_unsent(&_link) > 0 && millis() - begunMs < getTimeout()) {
      poll();
      yield();
    }
  }

  /* What was written, as the DISCONNECT of MQTT, leaves first. */
  void stop() override {
    flush();
    if (isLive()) tidegate_link_reset(&_link);
    _isUsed = false;
  }

  uint8_t connected() override {
    poll();
    return isLive();
  }

  operator bool() override { return isLive(); }

private:
  int connectLink() {
    if (_isUsed) stop();
    const unsigned long begunMs = millis();
    do {
      poll();
      if (tidegate_link_connected(&_link)) {
        _generation = tidegate_link_generation(&_link);
        _isUsed = true;
        return 1;
      }
      yield();
    } while (millis() - begunMs < getTimeout());
    return 0;
  }

  /* The conversation that connect() found is still the one that is open. */
  bool isLive() const {
    return _isUsed && tidegate_link_connected(&_link) && tidegate_link_generation(&_link) == _generation;
  }

  static void putByte(void *self, uint8_t byte) { static_cast<TidegateClient *>(self)->_line.write(byte); }
  static int getByte(void *self) { return static_cast<TidegateClient *>(self)->_line.read(); }
  static uint32_t now(void *) { return millis(); }
  static void changeRate(void *self, uint32_t baud) { static_cast<TidegateClient *>(self)->_change(baud); }

  Stream &_line;
  uint32_t _baud;
  uint32_t _bootId;
  uint8_t _resetReason;
  const char *_deviceId;
  const char *_firmware;
  void (*_change)(uint32_t) = nullptr;
  tidegate_link _link;
  uint8_t _generation = 0;
  bool _isUsed = false;
};

#endif
