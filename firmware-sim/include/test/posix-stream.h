// The clock and the Stream that the Arduino shim asks for, on a tty of this machine.
#pragma once
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
