// The echo again, through the Arduino shim, as an MQTT library uses it.
#include "../TidegateClient.h"
#include "posix-stream.h"

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
