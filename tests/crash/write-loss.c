/*
 * Records what a process writes below a directory and what it has synced of it, so that the harness can take back, after a kill,
 * what a power failure could have lost. Preloaded: cc -shared -fPIC -O2 write-loss.c -o write-loss.so -ldl -lpthread
 *
 * WRITE_LOSS_WATCH    absolute directory whose regular files are watched
 * WRITE_LOSS_JOURNAL  directory of journals, one a process, outside of the watched one
 *
 * A journal is a row of entries: a header of fixed size (see struct entry), the bytes that were there, the bytes that are there now.
 * Ranges are widened to whole sectors. A range of nothing but zeros has no bytes, only a flag.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SECTOR = 512, WRITE = 1, SYNC = 2, TRUNCATE = 3, DURABLE = 1, OLD_ZERO = 2, NEW_ZERO = 4 };

struct entry {
  uint32_t magic, kind;
  uint64_t time, ino, born, offset;
  uint32_t old_length, new_length, flags, size_before_high;
  uint64_t size_before;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char watched[4096];
static size_t watched_length;
static int journal = -1;
static pid_t journal_of = 0;
static char *before, *after;
static size_t room;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);
static int (*real_ftruncate)(int, off_t);

__attribute__((constructor)) static void begin(void) {
  real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  real_pwritev = dlsym(RTLD_NEXT, "pwritev64");
  real_write = dlsym(RTLD_NEXT, "write");
  real_writev = dlsym(RTLD_NEXT, "writev");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
  const char *watch = getenv("WRITE_LOSS_WATCH");
  if (watch == NULL || strlen(watch) + 2 > sizeof watched) return;
  snprintf(watched, sizeof watched, "%s/", watch);
  watched_length = strlen(watched);
}

/* A child that was forked has a journal of its own. */
static int open_journal(void) {
  if (journal >= 0 && journal_of == getpid()) return journal;
  const char *directory = getenv("WRITE_LOSS_JOURNAL");
  if (directory == NULL) return -1;
  char path[4200];
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  snprintf(path, sizeof path, "%s/%d-%lld%09ld", directory, getpid(), (long long)now.tv_sec, now.tv_nsec);
  journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  journal_of = getpid();
  return journal;
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* Whether a descriptor is a watched file; fills in who it is. */
static int is_watched(int fd, struct entry *entry) {
  if (watched_length == 0) return 0;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < (ssize_t)watched_length || memcmp(path, watched, watched_length) != 0) return 0;
  struct statx about;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &about) != 0 || !S_ISREG(about.stx_mode)) return 0;
  memset(entry, 0, sizeof *entry);
  entry->magic = 0x4c4f5353;
  entry->ino = about.stx_ino;
  entry->born = (uint64_t)about.stx_btime.tv_sec * 1000000000ull + about.stx_btime.tv_nsec;
  entry->size_before = about.stx_size;
  return 1;
}

static int all_zero(const char *bytes, size_t length) {
  return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

static void put(const void *bytes, size_t length) {
  const char *at = bytes;
  while (length > 0) {
    ssize_t done = syscall(SYS_write, journal, at, length);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) {
      /* A journal with a hole would accuse the innocent. */
      static const char word[] = "write-loss: the journal cannot be written\n";
      syscall(SYS_write, 2, word, sizeof word - 1);
      _exit(97);
    }
    at += done;
    length -= (size_t)done;
  }
}

/* Reads whole sectors of a range; what is beyond the end of the file is zeros. Through a descriptor of its own: the caller's may be for writing only. */
static size_t read_range(int fd, char *target, off_t from, size_t length) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int reader = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  size_t done = 0;
  while (reader >= 0 && done < length) {
    ssize_t got = syscall(SYS_pread64, reader, target + done, length - done, from + (off_t)done);
    if (got <= 0) break;
    done += (size_t)got;
  }
  if (reader >= 0) syscall(SYS_close, reader);
  memset(target + done, 0, length - done);
  return done;
}

static void record_write(int fd, struct entry *entry, const struct iovec *parts, int count, off_t offset) {
  size_t length = 0;
  for (int part = 0; part < count; part++) length += parts[part].iov_len;
  if (length == 0 || open_journal() < 0) return;
  off_t from = offset & ~(off_t)(SECTOR - 1);
  size_t whole = (size_t)(((offset + (off_t)length + SECTOR - 1) & ~(off_t)(SECTOR - 1)) - from);
  if (whole > room) {
    free(before);
    free(after);
    before = malloc(whole);
    after = malloc(whole);
    room = whole;
  }
  read_range(fd, before, from, whole);
  memcpy(after, before, whole);
  char *at = after + (offset - from);
  for (int part = 0; part < count; part++) {
    memcpy(at, parts[part].iov_base, parts[part].iov_len);
    at += parts[part].iov_len;
  }
  int flags = fcntl(fd, F_GETFL);
  entry->kind = WRITE;
  entry->offset = (uint64_t)from;
  entry->old_length = entry->new_length = (uint32_t)whole;
  if (flags >= 0 && (flags & (O_DSYNC | O_SYNC)) != 0) entry->flags |= DURABLE;
  if (all_zero(before, whole)) entry->flags |= OLD_ZERO;
  if (all_zero(after, whole)) entry->flags |= NEW_ZERO;
  entry->time = now_ns();
  put(entry, sizeof *entry);
  if ((entry->flags & OLD_ZERO) == 0) put(before, whole);
  if ((entry->flags & NEW_ZERO) == 0) put(after, whole);
}

/* A write that failed or came short left something else than its entry says: a second entry says what is there. */
static void record_shortfall(int fd, struct entry *entry) {
  size_t whole = entry->new_length;
  read_range(fd, after, (off_t)entry->offset, whole);
  memcpy(before, after, whole);
  entry->flags &= (uint32_t)~(OLD_ZERO | NEW_ZERO);
  if (all_zero(after, whole)) entry->flags |= OLD_ZERO | NEW_ZERO;
  entry->time = now_ns();
  put(entry, sizeof *entry);
  if ((entry->flags & NEW_ZERO) == 0) {
    put(before, whole);
    put(after, whole);
  }
}

static off_t position(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return lseek(fd, 0, flags >= 0 && (flags & O_APPEND) != 0 ? SEEK_END : SEEK_CUR);
}

static ssize_t total(const struct iovec *parts, int count) {
  size_t length = 0;
  for (int part = 0; part < count; part++) length += parts[part].iov_len;
  return (ssize_t)length;
}

#define RECORDED(parts, count, offset, call)            \
  struct entry entry;                                   \
  if (!is_watched(fd, &entry)) return call;             \
  pthread_mutex_lock(&lock);                            \
  record_write(fd, &entry, parts, count, offset);       \
  ssize_t done = call;                                  \
  int error = errno;                                    \
  if (entry.kind == WRITE && done < total(parts, count)) record_shortfall(fd, &entry); \
  pthread_mutex_unlock(&lock);                          \
  errno = error;                                        \
  return done;

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
  struct iovec part = {(void *)bytes, length};
  RECORDED(&part, 1, offset, real_pwrite(fd, bytes, length, offset))
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) {
  RECORDED(parts, count, offset, real_pwritev(fd, parts, count, offset))
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return pwritev64(fd, parts, count, offset); }

ssize_t write(int fd, const void *bytes, size_t length) {
  struct iovec part = {(void *)bytes, length};
  RECORDED(&part, 1, position(fd), real_write(fd, bytes, length))
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  RECORDED(parts, count, position(fd), real_writev(fd, parts, count))
}

static int synced(int fd, int (*real)(int)) {
  struct entry entry;
  if (!is_watched(fd, &entry)) return real(fd);
  pthread_mutex_lock(&lock);
  uint64_t began = now_ns();
  pthread_mutex_unlock(&lock);
  int result = real(fd);
  int error = errno;
  if (result == 0) {
    pthread_mutex_lock(&lock);
    if (open_journal() >= 0) {
      /* What was written before it began is durable. */
      entry.kind = SYNC;
      entry.time = began;
      put(&entry, sizeof entry);
    }
    pthread_mutex_unlock(&lock);
  }
  errno = error;
  return result;
}

int fdatasync(int fd) { return synced(fd, real_fdatasync); }
int fsync(int fd) { return synced(fd, real_fsync); }

int ftruncate64(int fd, off_t size) {
  struct entry entry;
  if (!is_watched(fd, &entry)) return real_ftruncate(fd, size);
  pthread_mutex_lock(&lock);
  int result = real_ftruncate(fd, size);
  int error = errno;
  if (result == 0 && open_journal() >= 0) {
    entry.kind = TRUNCATE;
    entry.offset = (uint64_t)size;
    entry.time = now_ns();
    put(&entry, sizeof entry);
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
