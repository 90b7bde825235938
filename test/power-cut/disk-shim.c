/*
 * What a process does to the files below one directory, recorded, or made to fail. Preloaded into a broker:
 *
 *   DISK_SHIM_DIR    the directory; files ending in -shm are left alone
 *   DISK_SHIM_TRACE  file that gets the record, in the order in which things happened; several processes may share it
 *   DISK_SHIM_SYNC   "off": fsync does nothing and is not recorded
 *   DISK_SHIM_FAULT  file whose first word says what goes wrong at present:
 *                    "enospc", "erofs", "eio": writes fail so; "slow N": fsync takes N ms longer
 *
 * A record is 24 bytes and its data: kind, file number, 64-bit offset, data length (test/power-cut/trace.ts reads it).
 * What passes on sockets is recorded too, so that the trace knows what had been acknowledged when.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { OPENED = 1, WRITTEN, TRUNCATED, SYNCED, UNLINKED, RENAMED, SENT, RECEIVED };

enum { FDS = 4096, NAME = 4096 };

typedef struct {
  uint32_t kind;
  uint32_t file;
  uint64_t offset;
  uint64_t length;
} head_t;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int trace_fd = -1;
static const char *directory;
static size_t directory_length;
static const char *fault_file;
static int is_sync_off;
/* Number of the file behind a descriptor: 0 = none of ours, -1 = a socket. Files are numbered by process and opening. */
static uint32_t file_of[FDS];
static uint32_t next_file;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_read)(int, void *, size_t);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_sendmsg)(int, const struct msghdr *, int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);
static int (*real_rename)(const char *, const char *);

__attribute__((constructor)) static void start(void) {
  real_open = dlsym(RTLD_NEXT, "open");
  real_close = dlsym(RTLD_NEXT, "close");
  real_read = dlsym(RTLD_NEXT, "read");
  real_write = dlsym(RTLD_NEXT, "write");
  real_writev = dlsym(RTLD_NEXT, "writev");
  real_sendmsg = dlsym(RTLD_NEXT, "sendmsg");
  real_pwrite = dlsym(RTLD_NEXT, "pwrite");
  real_ftruncate = dlsym(RTLD_NEXT, "ftruncate");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_unlink = dlsym(RTLD_NEXT, "unlink");
  real_rename = dlsym(RTLD_NEXT, "rename");
  directory = getenv("DISK_SHIM_DIR");
  directory_length = directory == NULL ? 0 : strlen(directory);
  fault_file = getenv("DISK_SHIM_FAULT");
  const char *sync = getenv("DISK_SHIM_SYNC");
  is_sync_off = sync != NULL && strcmp(sync, "off") == 0;
  const char *trace = getenv("DISK_SHIM_TRACE");
  if (trace != NULL) trace_fd = real_open(trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  next_file = (uint32_t)getpid() << 12;
}

static void record(uint32_t kind, uint32_t file, uint64_t offset, const void *data, uint64_t length) {
  if (trace_fd < 0) return;
  head_t head = {kind, file, offset, length};
  struct iovec parts[2] = {{&head, sizeof head}, {(void *)data, length}};
  if (real_writev(trace_fd, parts, 2) < 0) abort();
}

static int is_ours(const char *path) {
  if (directory == NULL || strncmp(path, directory, directory_length) != 0) return 0;
  size_t length = strlen(path);
  return length < 4 || strcmp(path + length - 4, "-shm") != 0;
}

static uint32_t file_at(int fd) { return fd >= 0 && fd < FDS ? file_of[fd] : 0; }

/* What goes wrong with a write; 0 = nothing. */
static int write_fault(void) {
  char text[32] = "";
  if (fault_file == NULL) return 0;
  int fd = real_open(fault_file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = real_read(fd, text, sizeof text - 1);
  real_close(fd);
  if (length <= 0) return 0;
  if (strncmp(text, "enospc", 6) == 0) return ENOSPC;
  if (strncmp(text, "erofs", 5) == 0) return EROFS;
  if (strncmp(text, "eio", 3) == 0) return EIO;
  return 0;
}

static void sync_delay(void) {
  char text[32] = "";
  int ms = 0;
  if (fault_file == NULL) return;
  int fd = real_open(fault_file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (real_read(fd, text, sizeof text - 1) > 0) sscanf(text, "slow %d", &ms);
  real_close(fd);
  struct timespec delay = {ms / 1000, (ms % 1000) * 1000000L};
  if (ms > 0) nanosleep(&delay, NULL);
}

static int opened(int fd, const char *path, int flags) {
  if (fd < 0 || fd >= FDS) return fd;
  pthread_mutex_lock(&lock);
  file_of[fd] = 0;
  if (is_ours(path)) {
    file_of[fd] = ++next_file;
    record(OPENED, next_file, (flags & O_TRUNC) != 0, path, strlen(path));
  }
  pthread_mutex_unlock(&lock);
  return fd;
}

#define MODE(flags, mode)                          \
  mode_t mode = 0;                                 \
  if ((flags) & (O_CREAT | __O_TMPFILE)) {         \
    va_list more;                                  \
    va_start(more, flags);                         \
    mode = va_arg(more, mode_t);                   \
    va_end(more);                                  \
  }

int open(const char *path, int flags, ...) {
  MODE(flags, mode)
  return opened(real_open(path, flags, mode), path, flags);
}

int open64(const char *path, int flags, ...) {
  MODE(flags, mode)
  return opened(real_open(path, flags | O_LARGEFILE, mode), path, flags);
}

int close(int fd) {
  if (fd >= 0 && fd < FDS) file_of[fd] = 0;
  return real_close(fd);
}

static int is_socket(int fd) {
  struct stat found;
  return trace_fd >= 0 && fd > 2 && fstat(fd, &found) == 0 && S_ISSOCK(found.st_mode);
}

/* Recorded before it happens: whoever is told cannot know it earlier. */
static void sent(int fd, const struct iovec *parts, size_t count) {
  if (!is_socket(fd)) return;
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < count; i++) record(SENT, (uint32_t)fd, 0, parts[i].iov_base, parts[i].iov_len);
  pthread_mutex_unlock(&lock);
}

ssize_t read(int fd, void *data, size_t length) {
  ssize_t done = real_read(fd, data, length);
  if (done > 0 && is_socket(fd)) {
    pthread_mutex_lock(&lock);
    record(RECEIVED, (uint32_t)fd, 0, data, (uint64_t)done);
    pthread_mutex_unlock(&lock);
  }
  return done;
}

static ssize_t written(uint32_t file, ssize_t done, const void *data, off_t offset) {
  if (done > 0) record(WRITTEN, file, (uint64_t)offset, data, (uint64_t)done);
  return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
  uint32_t file = file_at(fd);
  if (file == 0) return real_pwrite(fd, data, length, offset);
  if ((errno = write_fault()) != 0) return -1;
  pthread_mutex_lock(&lock);
  ssize_t done = written(file, real_pwrite(fd, data, length, offset), data, offset);
  pthread_mutex_unlock(&lock);
  return done;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return pwrite(fd, data, length, offset); }

ssize_t write(int fd, const void *data, size_t length) {
  uint32_t file = file_at(fd);
  if (file == 0) {
    struct iovec part = {(void *)data, length};
    sent(fd, &part, 1);
    return real_write(fd, data, length);
  }
  if ((errno = write_fault()) != 0) return -1;
  pthread_mutex_lock(&lock);
  off_t offset = lseek(fd, 0, SEEK_CUR);
  ssize_t done = written(file, real_write(fd, data, length), data, offset);
  pthread_mutex_unlock(&lock);
  return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  sent(fd, parts, (size_t)count);
  return real_writev(fd, parts, count);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  sent(fd, message->msg_iov, message->msg_iovlen);
  return real_sendmsg(fd, message, flags);
}

int ftruncate(int fd, off_t length) {
  uint32_t file = file_at(fd);
  if (file == 0) return real_ftruncate(fd, length);
  if ((errno = write_fault()) != 0) return -1;
  pthread_mutex_lock(&lock);
  int result = real_ftruncate(fd, length);
  if (result == 0) record(TRUNCATED, file, (uint64_t)length, NULL, 0);
  pthread_mutex_unlock(&lock);
  return result;
}

int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }

static int synced(int fd, int (*sync)(int)) {
  uint32_t file = file_at(fd);
  if (file == 0) return sync(fd);
  sync_delay();
  if (is_sync_off) return 0;
  int fault = write_fault();
  if (fault == EIO) return errno = EIO, -1;
  pthread_mutex_lock(&lock);
  /* The files are not to survive a real power cut: what matters is that it was asked for. */
  record(SYNCED, file, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  return trace_fd >= 0 ? 0 : sync(fd);
}

int fsync(int fd) { return synced(fd, real_fsync); }

int fdatasync(int fd) { return synced(fd, real_fdatasync); }

int unlink(const char *path) {
  pthread_mutex_lock(&lock);
  int result = real_unlink(path);
  if (result == 0 && is_ours(path)) record(UNLINKED, 0, 0, path, strlen(path));
  pthread_mutex_unlock(&lock);
  return result;
}

int rename(const char *from, const char *to) {
  char both[2 * NAME];
  pthread_mutex_lock(&lock);
  int result = real_rename(from, to);
  if (result == 0 && is_ours(from)) {
    int length = snprintf(both, sizeof both, "%s%c%s", from, 0, to);
    record(RENAMED, 0, 0, both, (uint64_t)length);
  }
  pthread_mutex_unlock(&lock);
  return result;
}
