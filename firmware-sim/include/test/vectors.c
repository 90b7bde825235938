/*
 * Holds tidegate_link.h against the vectors, one a line on standard input, binary in hex and `-` for nothing:
 *
 *   stuff PLAIN ENCODED | notcobs ENCODED | crc BYTES NUMBER | frame TYPE FLAGS SEQ ACK PAYLOAD WIRE | notframe WIRE
 *   hello PAYLOAD MTU CREDIT WINDOW | ownhello PAYLOAD | nothello PAYLOAD
 *
 * With `talk` as argument it plays the gateway through a conversation instead, and checks each answer.
 * With `fuzz SEED COUNT` as arguments it feeds so many bytes, noise and frames whole and damaged, and then
 * looks whether the link still answers. Prints OK and a count, or what is wrong.
 */
#define TIDEGATE_LINK_MTU 600
#define TIDEGATE_LINK_RX 700
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tidegate_link.h"

enum { BYTES_MAX = 2048 };

typedef struct {
  uint8_t bytes[BYTES_MAX];
  uint16_t length;
} row;

static row written;
static uint32_t now_ms = 0xfffff000u; /* Wraps around soon. */
static uint32_t seed;
static tidegate_link end;
static uint32_t baud_now;
static const uint32_t rates[] = {250000, 1000000};

static void put(void *context, uint8_t byte) {
  row *to = (row *)context;
  if (to->length < BYTES_MAX) to->bytes[to->length++] = byte;
}

static int get(void *context) {
  (void)context;
  return -1;
}

static uint32_t millis(void *context) {
  (void)context;
  return now_ms;
}

static void change_rate(void *context, uint32_t baud) {
  (void)context;
  baud_now = baud;
}

static const tidegate_io io = {&written, put, get, millis};

static void check(int is_right, const char *what) {
  if (is_right) return;
  printf("wrong: %s\n", what);
  exit(1);
}

static row from_hex(const char *hex) {
  row bytes = {{0}, 0};
  unsigned value;
  if (hex[0] == '-') return bytes;
  for (; sscanf(hex, "%2x", &value) == 1; hex += 2) put(&bytes, (uint8_t)value);
  return bytes;
}

static void open_link(void) {
  tidegate_link_open(&end, &io, 115200, 0x0a0b0c0d, TIDEGATE_RESET_WATCHDOG, "s1", "thermo 1.2");
  tidegate_link_rates(&end, change_rate, rates, 2);
  tidegate_link_want_time(&end);
  baud_now = 115200;
  written.length = 0;
}

static void feed(const row *bytes) {
  for (uint16_t at = 0; at < bytes->length; at++) tidegate__receive(&end, bytes->bytes[at]);
}

static int is_same(const row *left, const row *right) {
  return left->length == right->length && memcmp(left->bytes, right->bytes, left->length) == 0;
}

static row wire_of(uint8_t type, uint8_t flags, uint8_t seq, uint8_t ack, const row *payload) {
  tidegate_link sender;
  row wire = {{0}, 0};
  tidegate_io to = io;
  to.context = &wire;
  tidegate_link_open(&sender, &to, 115200, 1, 0, NULL, NULL);
  sender.expected_seq = ack;
  tidegate__put_frame(&sender, type, flags, seq, payload->bytes, 0, BYTES_MAX, payload->length);
  return wire;
}

/* A frame on a bus, of the gateway, or of a device when the address has its high bit. */
static row bus_wire_of(uint8_t address, uint8_t type, uint8_t flags, uint8_t seq, uint8_t ack, const row *payload) {
  row plain = {{(uint8_t)(type << 4 | flags | TIDEGATE__ADDRESSED), address, seq, ack}, 4}, wire = {{0}, 1};
  tidegate_io to = io;
  tidegate__pieces pieces;
  uint16_t crc = 0xffff;
  to.context = &wire;
  for (uint16_t at = 0; at < payload->length; at++) put(&plain, payload->bytes[at]);
  for (uint16_t at = 0; at < plain.length; at++) crc = tidegate__crc(crc, plain.bytes[at]);
  put(&plain, (uint8_t)crc);
  put(&plain, (uint8_t)(crc >> 8));
  memset(&pieces, 0, sizeof pieces);
  pieces.body = plain.bytes;
  pieces.body_size = BYTES_MAX;
  pieces.body_length = plain.length;
  tidegate__stuff(&to, &pieces);
  put(&wire, 0);
  return wire;
}

/* The RST just written, against that of a device that has other limits and is the same otherwise. */
static void check_own_hello(const row *payload) {
  tidegate_link reader;
  tidegate_link_open(&reader, &io, 115200, 1, 0, NULL, NULL);
  written.length--; /* The delimiter behind it would clear what was taken in. */
  for (uint16_t at = 0; at < written.length; at++) tidegate__receive(&reader, written.bytes[at]);
  check(reader.frame_length == payload->length + TIDEGATE__OVERHEAD, "length of its own RST");
  for (uint16_t at = 0; at < payload->length; at++) {
    const bool is_limit = at == 23 || at == 24 || at == 27 || at == 28 || at == 31;
    check(is_limit || reader.frame[TIDEGATE__HEAD + at] == payload->bytes[at], "fields of its own RST");
  }
}

static void check_line(char *line) {
  char *words[8] = {NULL};
  int count = 0;
  for (char *word = strtok(line, " \n"); word != NULL && count < 8; word = strtok(NULL, " \n")) words[count++] = word;
  check(count >= 2, "a line of two words");
  const row first = from_hex(words[1]);
  open_link();
  if (strcmp(words[0], "stuff") == 0) {
    const row encoded = from_hex(words[2]);
    tidegate__pieces pieces;
    memset(&pieces, 0, sizeof pieces);
    pieces.body = first.bytes;
    pieces.body_size = BYTES_MAX;
    pieces.body_length = first.length;
    check(tidegate__stuff(&io, &pieces) == encoded.length && is_same(&written, &encoded), "encoded bytes");
    feed(&encoded);
    check(!end.is_bad && end.code_left == 0 && end.frame_length == first.length, "decoded length");
    check(memcmp(end.frame, first.bytes, first.length) == 0, "decoded bytes");
  } else if (strcmp(words[0], "notcobs") == 0) {
    feed(&first);
    check(end.code_left > 0 || end.frame_length < TIDEGATE__OVERHEAD, "bytes that are not COBS");
  } else if (strcmp(words[0], "crc") == 0) {
    uint16_t crc = 0xffff;
    for (uint16_t at = 0; at < first.length; at++) crc = tidegate__crc(crc, first.bytes[at]);
    check(crc == atoi(words[2]), "checksum");
  } else if (strcmp(words[0], "frame") == 0) {
    const row payload = from_hex(words[5]);
    row wire = from_hex(words[6]);
    const uint8_t type = (uint8_t)atoi(words[1]), flags = (uint8_t)atoi(words[2]);
    const uint8_t seq = (uint8_t)atoi(words[3]), ack = (uint8_t)atoi(words[4]);
    const uint8_t address = (uint8_t)atoi(words[7]), shift = address == 0 ? 0 : 1;
    const row made = address == 0 ? wire_of(type, flags, seq, ack, &payload)
                                  : bus_wire_of(address, type, flags, seq, ack, &payload);
    const uint8_t *frame = end.frame + shift;
    check(is_same(&made, &wire), "written frame");
    if (address & 0x80) {
      tidegate_link_address(&end, address & 0x7f);
      end.has_turn = true;
      end.expected_seq = ack;
      written.length = 0;
      tidegate__put_frame(&end, type, flags, seq, payload.bytes, 0, BYTES_MAX, payload.length);
      check(is_same(&written, &wire), "written frame of an address");
    }
    wire.length--; /* The delimiter behind it would clear what was taken in. */
    feed(&wire);
    check(tidegate__is_frame(&end), "whole frame");
    check(end.frame[0] == (type << 4 | flags | (shift ? TIDEGATE__ADDRESSED : 0)), "type and flags");
    check(frame[1] == seq && frame[2] == ack && (shift == 0 || end.frame[1] == address), "header");
    check(end.frame_length == payload.length + shift + TIDEGATE__OVERHEAD, "length");
    check(memcmp(frame + TIDEGATE__HEAD, payload.bytes, payload.length) == 0, "payload");
  } else if (strcmp(words[0], "notframe") == 0) {
    const uint16_t before = end.garbage_count;
    feed(&first);
    check(end.state == TIDEGATE__RESETTING && written.length == 0, "no answer to garbage");
    check((end.garbage_count > before) == (first.length > 2), "garbage is counted");
    check(end.code == 0 && end.frame_length == 0, "nothing is left of garbage");
  } else if (strcmp(words[0], "ownhello") == 0) {
    end.conversation = 0x01020304;
    tidegate_link_want_time(&end);
    tidegate__put_hello(&end, TIDEGATE__RST);
    check_own_hello(&first);
  } else if (strcmp(words[0], "hello") == 0) {
    tidegate__hello hello;
    tidegate__read_hello(first.bytes, first.length, &hello);
    check(hello.boot_id == 0x0a0b0c0du && hello.conversation == 0x01020304u, "boot id and conversation");
    check(hello.mtu == (uint32_t)atoi(words[2]) && hello.credit == (uint32_t)atoi(words[3]), "MTU and credit");
    check((hello.window > 7 ? 7 : hello.window) == (uint32_t)atoi(words[4]), "window");
  } else if (strcmp(words[0], "nothello") == 0) {
    tidegate__hello hello;
    check(!tidegate__read_hello(first.bytes, first.length, &hello), "refused fields");
  } else {
    check(0, words[0]);
  }
}

static uint32_t draw(void) {
  seed ^= seed << 13;
  seed ^= seed >> 17;
  return seed ^= seed << 5;
}

static void add_number(row *payload, uint8_t type, uint32_t value, uint8_t bytes) {
  uint8_t *to = payload->bytes + payload->length;
  payload->length = (uint16_t)(payload->length + tidegate__number_field(to, type, value, bytes));
}

/* What a gateway says of itself, with limits of any size. */
static void hello_of(row *payload, uint32_t conversation) {
  payload->length = 0;
  add_number(payload, 2, 1, 1);
  add_number(payload, 3, draw(), 4);
  add_number(payload, 4, conversation, 4);
  add_number(payload, 6, draw() >> 16, 2);
  add_number(payload, 7, draw() >> 16, 2);
  add_number(payload, 8, draw() >> 16, 1);
}

static row fuzzed(void) {
  row payload = {{0}, 0};
  row wire = {{0}, 0};
  if (draw() % 4 == 0) {
    for (uint32_t left = draw() % 900; left > 0; left--) put(&wire, draw() % 16 == 0 ? 0 : (uint8_t)draw());
    return wire;
  }
  const uint8_t type = (uint8_t)(draw() % 4 == 0 ? draw() % 16 : 2 + draw() % 5);
  if (type <= TIDEGATE__RSTACK) {
    hello_of(&payload, draw() % 8 == 0 ? draw() : end.conversation);
  } else {
    const uint32_t most = draw() % 8 == 0 ? 640 : 60;
    for (uint32_t left = draw() % most; left > 0; left--) put(&payload, (uint8_t)draw());
  }
  const uint8_t seq = (uint8_t)(end.expected_seq + (draw() % 4 == 0 ? draw() % 256 : 0));
  const uint8_t ack = (uint8_t)(end.next_seq - draw() % 5);
  const uint8_t flags = (uint8_t)(draw() % 16 | (draw() % 8 == 0 ? 0 : TIDEGATE__HOST));
  if (type == TIDEGATE__BAUD && draw() % 2 == 0) {
    payload.length = 0;
    for (uint8_t at = 0; at < 4; at++) put(&payload, (uint8_t)(rates[draw() % 2] >> (8 * at)));
  }
  wire = wire_of(type, flags, seq, ack, &payload);
  if (draw() % 4 == 0) {
    const uint32_t at = draw() % wire.length;
    wire.bytes[at] ^= (uint8_t)(1u << draw() % 8);
  }
  return wire;
}

static void fuzz(uint32_t count) {
  uint32_t fed = 0, conversations = 0, read_bytes = 0, raised_count = 0;
  uint8_t generation;
  open_link();
  generation = end.generation;
  while (fed < count) {
    uint8_t bytes[300];
    const row wire = fuzzed();
    feed(&wire);
    fed += wire.length;
    now_ms += draw() % 64 == 0 ? draw() % 3000 : draw() % 20;
    written.length = 0;
    if (draw() % 2 == 0) tidegate_link_poll(&end);
    if (draw() % 4 == 0) read_bytes += tidegate_link_read(&end, bytes, (uint16_t)(draw() % sizeof bytes));
    if (draw() % 4 == 0) tidegate_link_write(&end, bytes, (uint16_t)(draw() % 100));
    if (draw() % 4096 == 0) tidegate_link_reset(&end);
    check(end.rx_count <= TIDEGATE_LINK_RX && end.tx_count <= TIDEGATE_LINK_TX, "buffers within bounds");
    if (end.state == TIDEGATE__OPEN) check(end.flight_bytes <= end.tx_count, "bytes under way are buffered");
    check(end.baud == baud_now, "the rate is the one that was set");
    if (end.state != TIDEGATE__OPEN) check(baud_now == 115200, "another rate only in a conversation");
    if (end.baud != 115200) raised_count++;
    if (end.state == TIDEGATE__OPEN && end.generation != generation) conversations++;
    generation = end.generation;
  }
  tidegate_link_reset(&end);
  const row delimiter = {{0}, 1};
  row payload = {{0}, 0};
  hello_of(&payload, end.conversation);
  const row answer = wire_of(TIDEGATE__RSTACK, TIDEGATE__HOST, 0, 0, &payload);
  feed(&delimiter);
  feed(&answer);
  check(tidegate_link_connected(&end), "still answers");
  check(conversations > 10 && read_bytes > 1000 && end.resent_count > 10, "the fuzzing got anywhere");
  check(raised_count > 10 && end.has_time, "the fuzzing changed rate and time");
  printf("OK %lu bytes, %lu conversations, %lu bytes read\n", (unsigned long)fed, (unsigned long)conversations,
         (unsigned long)read_bytes);
}

/* The types of the frames written since the last call, a letter each: R and S are RST and RSTACK. */
static const char *answers(void) {
  static char letters[64];
  static const char names[] = "RSDANIOL?TBEV???";
  tidegate_link reader;
  size_t count = 0;
  tidegate_link_open(&reader, &io, 115200, 1, 0, NULL, NULL);
  for (uint16_t at = 0; at < written.length; at++) {
    if (written.bytes[at] == 0 && reader.code != 0) {
      check(tidegate__is_frame(&reader), "a whole frame was written");
      if (count < sizeof letters - 1) letters[count++] = names[reader.frame[0] >> 4];
      reader.frame_length = reader.code = reader.code_left = 0;
    } else if (written.bytes[at] != 0) {
      tidegate__receive(&reader, written.bytes[at]);
    }
  }
  letters[count] = 0;
  written.length = 0;
  return letters;
}

static void say(uint8_t type, uint8_t seq, uint8_t ack, const row *payload) {
  const row wire = wire_of(type, TIDEGATE__HOST, seq, ack, payload);
  feed(&wire);
}

/* What the device said itself, brought back by the line. */
static void echo(uint8_t type, uint8_t seq, uint8_t ack, const row *payload) {
  const row wire = wire_of(type, 0, seq, ack, payload);
  feed(&wire);
}

static void expect(uint32_t later_ms, const char *letters, const char *what) {
  for (uint32_t left = later_ms; left > 0; left--) {
    now_ms++;
    tidegate_link_poll(&end);
  }
  tidegate_link_poll(&end);
  check(strcmp(answers(), letters) == 0, what);
}

static void enter(row *hello) {
  hello_of(hello, end.conversation);
  say(TIDEGATE__RSTACK, 0, 0, hello);
  check(tidegate_link_connected(&end), "open");
  answers();
}

static void say_rate(uint32_t baud) {
  row payload = {{0}, 4};
  for (uint8_t at = 0; at < 4; at++) payload.bytes[at] = (uint8_t)(baud >> (8 * at));
  say(TIDEGATE__BAUD, 0, 0, &payload);
}

static void talk_of_rates(void) {
  const row nothing = {{0}, 0};
  row hello;
  open_link();
  expect(0, "R", "asks");
  enter(&hello);
  say_rate(500000);
  expect(0, "", "does not answer a rate that it cannot do");
  say_rate(1000000);
  expect(0, "B", "agrees");
  check(baud_now == 1000000, "goes to the rate that it agreed to");
  expect(499, "", "waits for a frame");
  expect(1, "", "hears none");
  check(baud_now == 115200, "comes back");
  say_rate(250000);
  say(TIDEGATE__PING, 0, 0, &nothing);
  expect(600, "BO", "agrees, and answers at the new rate");
  check(baud_now == 250000, "a frame proves the rate");
  expect(1399, "", "is quiet");
  expect(1, "I", "asks whether somebody is there");
  expect(749, "II", "asks soon again");
  expect(1, "R", "looks for the gateway at the first rate");
  check(baud_now == 115200, "the first rate");
  enter(&hello);
  say_rate(250000);
  answers();
  tidegate_link_reset(&end);
  check(strcmp(answers(), "E") == 0 && baud_now == 115200, "says ERR at the raised rate before RST at the first");
}

static void talk_of_time(void) {
  row told = {{0x2e, 0x16, 0x9d, 0x7c, 0x9b, 0x01, 0, 0, 3}, 9};
  uint64_t ms = 0;
  uint8_t quality = 0;
  row hello;
  open_link();
  expect(0, "R", "asks");
  enter(&hello);
  check(!tidegate_link_time(&end, &ms, &quality), "nobody told the time");
  say(TIDEGATE__TIME, 0, 0, &told);
  now_ms += 1000;
  check(tidegate_link_time(&end, &ms, &quality), "knows the time");
  check(ms == 0x019b7c9d162eu + 1000u && quality == TIDEGATE_TIME_NETWORK, "the time goes on");
  told.length = 8;
  say(TIDEGATE__TIME, 0, 0, &told);
  check(tidegate_link_time(&end, &ms, &quality) && quality == TIDEGATE_TIME_NETWORK, "a TIME cut short");
  tidegate_link_ask_time(&end);
  check(strcmp(answers(), "T") == 0, "asks for the time");
}

/* The gateway reads no number in LOG, TIME and BAUD: the acknowledgement that is due goes out behind them. */
static void talk_of_due_acknowledgements(void) {
  const row bytes = {{'a', 'b'}, 2};
  row hello;
  open_link();
  expect(0, "R", "asks");
  enter(&hello);
  say(TIDEGATE__DATA, 0, 0, &bytes);
  tidegate_link_log(&end, "hot");
  expect(19, "L", "a LOG while an acknowledgement is due");
  expect(1, "A", "acknowledges behind a LOG");
  say(TIDEGATE__DATA, 1, 0, &bytes);
  tidegate_link_ask_time(&end);
  expect(19, "T", "a TIME while an acknowledgement is due");
  expect(1, "A", "acknowledges behind a TIME");
  say(TIDEGATE__DATA, 2, 0, &bytes);
  say_rate(1000000);
  expect(19, "B", "a BAUD while an acknowledgement is due");
  expect(1, "A", "acknowledges behind a BAUD");
}

/* A NAK that comes before the baud rate allows counts once acknowledgements have come too early twice. */
static void talk_of_speed(void) {
  const row bytes = {{'a', 'b'}, 2};
  const row nothing = {{0}, 0};
  row hello;
  tidegate_link_open(&end, &io, 1200, 1, TIDEGATE_RESET_PIN, NULL, NULL);
  written.length = 0;
  expect(0, "R", "asks");
  enter(&hello);
  now_ms += 1000;
  answers();
  /* 9 bytes at 1200 baud take 75 ms. */
  tidegate_link_write(&end, bytes.bytes, bytes.length);
  expect(100, "D", "sends");
  say(TIDEGATE__NAK, 0, 0, &nothing);
  expect(100, "D", "a NAK in time");
  say(TIDEGATE__ACK, 0, 1, &nothing);
  for (uint8_t ack = 2; ack <= 3; ack++) {
    now_ms += 500;
    answers();
    tidegate_link_write(&end, bytes.bytes, bytes.length);
    expect(1, "D", "sends");
    say(TIDEGATE__NAK, 0, (uint8_t)(ack - 1), &nothing);
    expect(0, "", "a NAK about an earlier copy");
    say(TIDEGATE__ACK, 0, ack, &nothing);
  }
  tidegate_link_write(&end, bytes.bytes, bytes.length);
  expect(1, "D", "sends");
  say(TIDEGATE__NAK, 0, 3, &nothing);
  expect(0, "D", "obeys at once on a line that is faster than its rate");
}

static void talk(void) {
  const row nothing = {{0}, 0};
  const row bytes = {{'a', 'b'}, 2};
  uint8_t read[8];
  row hello;
  seed = 1;
  open_link();
  expect(0, "R", "asks at once");
  expect(2000, "RR", "asks again");
  hello_of(&hello, end.conversation + 1);
  say(TIDEGATE__RST, 0, 0, &hello);
  expect(0, "R", "insists when RSTs cross");
  say(TIDEGATE__RSTACK, 0, 0, &hello);
  check(!tidegate_link_connected(&end), "the answer to another RST");
  hello_of(&hello, end.conversation);
  say(TIDEGATE__RSTACK, 0, 0, &hello);
  check(tidegate_link_connected(&end), "the answer to its RST");
  say(TIDEGATE__RST, 0, 0, &hello);
  expect(0, "S", "answers the repeat of a RST");
  say(TIDEGATE__DATA, 0, 0, &bytes);
  expect(19, "", "waits with the acknowledgement");
  expect(1, "A", "acknowledges a lone frame");
  say(TIDEGATE__DATA, 0, 0, &bytes);
  expect(0, "A", "acknowledges an old frame at once");
  say(TIDEGATE__DATA, 1, 0, &bytes);
  say(TIDEGATE__DATA, 2, 0, &bytes);
  expect(0, "A", "acknowledges the second frame at once");
  say(TIDEGATE__DATA, 4, 0, &bytes);
  say(TIDEGATE__DATA, 5, 0, &bytes);
  expect(0, "N", "one NAK for a gap");
  say(TIDEGATE__PING, 0, 0, &nothing);
  expect(0, "O", "answers a PING");
  say(15, 0, 0, &nothing);
  expect(0, "", "says nothing to an unknown type");
  echo(TIDEGATE__DATA, 3, 0, &bytes);
  echo(TIDEGATE__PING, 0, 0, &nothing);
  echo(TIDEGATE__ERR, 0, 0, &nothing);
  expect(0, "", "its own frames are for nobody");
  hello_of(&hello, end.conversation + 1);
  say(TIDEGATE__RST, 0, 0, &hello);
  expect(0, "", "bytes are read before another conversation begins");
  check(tidegate_link_read(&end, read, sizeof read) == 6 && memcmp(read, "ababab", 6) == 0, "the stream so far");
  say(TIDEGATE__RST, 0, 0, &hello);
  expect(0, "S", "takes up the conversation of the gateway");
  tidegate_link_write(&end, bytes.bytes, bytes.length);
  expect(0, "D", "sends");
  expect(130, "D", "sends again without an acknowledgement");
  say(TIDEGATE__NAK, 0, 0, &nothing);
  expect(0, "D", "sends again after a NAK");
  say(TIDEGATE__ACK, 0, 1, &nothing);
  check(tidegate_link_unsent(&end) == 0, "acknowledged");
  expect(1999, "", "is quiet");
  expect(6001, "IIIR", "gives up a silent gateway");
  say(TIDEGATE__RSTACK, 0, 0, &hello);
  hello_of(&hello, end.conversation);
  say(TIDEGATE__RSTACK, 0, 0, &hello);
  tidegate_link_write(&end, bytes.bytes, bytes.length);
  for (uint8_t round = 0; round < 12; round++) {
    for (uint16_t left = 1000; left > 0 && tidegate_link_connected(&end); left--) {
      now_ms++;
      tidegate_link_poll(&end);
    }
    if (tidegate_link_connected(&end)) say(TIDEGATE__PONG, 0, 0, &nothing);
  }
  check(strcmp(answers(), "DDDDDDR") == 0, "gives up what is never acknowledged");
  hello_of(&hello, end.conversation);
  say(TIDEGATE__RSTACK, 0, 0, &hello);
  answers();
  tidegate_link_leave(&end);
  expect(0, "E", "says that it leaves");
  expect(9000, "", "is quiet after it left");
  printf("OK talk\n");
}

/* What the gateway says to address 5, and the frames that come back. */
static void say_on_bus(uint8_t address, uint8_t type, uint8_t seq, uint8_t ack, const row *payload) {
  const row wire = bus_wire_of(address, type, 0, seq, ack, payload);
  feed(&wire);
  tidegate_link_poll(&end);
}

static void talk_of_bus(void) {
  const row nothing = {{0}, 0}, bytes = {{'a', 'b'}, 2};
  row hello;
  seed = 1;
  open_link();
  tidegate_link_address(&end, 5);
  expect(3000, "", "does not speak out of turn");
  say_on_bus(6, TIDEGATE__TURN, 0, 0, &nothing);
  say_on_bus(0x85, TIDEGATE__TURN, 0, 0, &nothing);
  say(TIDEGATE__TURN, 0, 0, &nothing);
  expect(0, "", "the turn of another one, its own words, and what has no address");
  say_on_bus(5, TIDEGATE__TURN, 0, 0, &nothing);
  expect(0, "RV", "asks in its turn");
  hello_of(&hello, end.conversation);
  say_on_bus(5, TIDEGATE__RSTACK, 0, 0, &hello);
  check(tidegate_link_connected(&end), "the answer to its RST");
  say_on_bus(5, TIDEGATE__DATA, 0, 0, &bytes);
  say_on_bus(5, TIDEGATE__DATA, 2, 0, &bytes);
  say_on_bus(5, TIDEGATE__PING, 0, 0, &nothing);
  tidegate_link_write(&end, bytes.bytes, bytes.length);
  expect(100, "", "keeps what it has to say");
  say_on_bus(5, TIDEGATE__TURN, 3, 0, &nothing);
  expect(0, "NODV", "says it in its turn");
  expect(1000, "", "has no timer of its own");
  say_on_bus(5, TIDEGATE__TURN, 3, 0, &nothing);
  expect(0, "DV", "sends again what the next turn does not acknowledge");
  say_on_bus(5, TIDEGATE__TURN, 3, 1, &nothing);
  expect(0, "V", "and nothing when it does");
  check(tidegate_link_unsent(&end) == 0, "acknowledged");
  expect(8100, "", "gives up in silence when no turn comes");
  check(!tidegate_link_connected(&end), "given up");
  say_on_bus(5, TIDEGATE__TURN, 0, 0, &nothing);
  expect(0, "RV", "and asks anew in its turn");
}

int main(int count, char **words) {
  static char line[3 * BYTES_MAX];
  int checked = 0;
  if (count == 4 && strcmp(words[1], "fuzz") == 0) {
    seed = (uint32_t)strtoul(words[2], NULL, 10);
    fuzz((uint32_t)strtoul(words[3], NULL, 10));
    return 0;
  }
  if (count == 2 && strcmp(words[1], "talk") == 0) {
    talk_of_rates();
    talk_of_time();
    talk_of_due_acknowledgements();
    talk_of_speed();
    talk_of_bus();
    talk();
    return 0;
  }
  for (; fgets(line, sizeof line, stdin) != NULL; checked++) check_line(line);
  printf("OK %d vectors\n", checked);
  return 0;
}
