// As much of the Arduino core as TidegateClient.h needs, to build it on the host.
#ifndef ARDUINO_H
#define ARDUINO_H
#include <stddef.h>
#include <stdint.h>

unsigned long millis();
void yield();

class Stream {
public:
  virtual ~Stream() {}
  virtual int available() = 0;
  virtual int read() = 0;
  virtual int peek() = 0;
  virtual size_t write(uint8_t byte) = 0;
  unsigned long getTimeout() { return 1000; }
};
#endif
