// The echo again, through the Arduino shim, as an MQTT library uses it.
#include "../TidegateClient.h"
#include "posix-line.h"

unsigned long millis() { return posix_line_millis(); }
void yield() { posix_line_wait(); }

class PosixStream : public Stream {
public:
  int available() override { return 0; }
  int read() override { return posix_line_get(); }
  int peek() override { return -1; }
  size_t write(uint8_t byte) override {
    posix_line_put(byte);
    return 1;
  }
};

int main() {
  PosixStream line;
  TidegateClient client(line, 115200, static_cast<uint32_t>(getpid()), TIDEGATE_RESET_POWER_ON, "echo", "echo-shim");
  client.begin();
  client.log("echo starts");
  for (;;) {
    if (!client.connected() && !client.connect("gateway", 1883)) continue;
    while (client.available() > 0) {
      uint8_t bytes[16];
      const int count = client.read(bytes, sizeof bytes);
      // On a busy machine a write may run into the time limit of Stream: the rest goes again.
      for (int written = 0; written < count && client.connected();) {
        written += static_cast<int>(client.write(bytes + written, static_cast<size_t>(count - written)));
      }
    }
    yield();
  }
}
