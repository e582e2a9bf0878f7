/* A disk that fails: loaded before libc into a process of the test (LD_PRELOAD), it lets one kind of call on the database's files fail.
 *
 *   SHIM_CALL    write, sync, open      which calls
 *   SHIM_AT      n                      the n-th of them, counted from 1
 *   SHIM_STAYS   0 or 1                 only that one, or all from then on
 *   SHIM_ERRNO   a number               with which error; 0 writes the first half and says so (a short write)
 *
 * What was written before a failed sync stays written here; that a page can be lost as well is beyond what a library can play. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int seen;

static int ours(const char *path) { return path && strstr(path, "seamless.db"); }

static int ours_fd(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return ours(path);
}

static int number(const char *name) {
  const char *text = getenv(name);
  return text ? atoi(text) : 0;
}

/* Whether this call fails; errno is set. */
static int fails(const char *call) {
  const char *wanted = getenv("SHIM_CALL");
  if (!wanted || strcmp(wanted, call)) return 0;
  int now = __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST), at = number("SHIM_AT");
  if (now < at || (now > at && !number("SHIM_STAYS"))) return 0;
  errno = number("SHIM_ERRNO");
  return 1;
}

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

ssize_t write(int fd, const void *from, size_t length) {
  ssize_t (*real)(int, const void *, size_t) = REAL("write", ssize_t (*)(int, const void *, size_t));
  if (ours_fd(fd) && fails("write")) return errno ? -1 : real(fd, from, length / 2);
  return real(fd, from, length);
}

ssize_t pwrite64(int fd, const void *from, size_t length, off64_t at) {
  ssize_t (*real)(int, const void *, size_t, off64_t) = REAL("pwrite64", ssize_t (*)(int, const void *, size_t, off64_t));
  if (ours_fd(fd) && fails("write")) return errno ? -1 : real(fd, from, length / 2, at);
  return real(fd, from, length, at);
}

ssize_t pwrite(int fd, const void *from, size_t length, off_t at) { return pwrite64(fd, from, length, at); }

int fsync(int fd) { return ours_fd(fd) && fails("sync") ? -1 : REAL("fsync", int (*)(int))(fd); }

int fdatasync(int fd) { return ours_fd(fd) && fails("sync") ? -1 : REAL("fdatasync", int (*)(int))(fd); }

static int open_with(const char *real, const char *path, int flags, mode_t mode) {
  int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT);
  if (writes && ours(path) && fails("open")) return -1;
  return REAL(real, int (*)(const char *, int, ...))(path, flags, mode);
}

#define OPEN(name)                                                                                                                                 \
  int name(const char *path, int flags, ...) {                                                                                                     \
    va_list rest;                                                                                                                                  \
    va_start(rest, flags);                                                                                                                         \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                                                        \
    va_end(rest);                                                                                                                                  \
    return open_with(#name, path, flags, mode);                                                                                                    \
  }
OPEN(open)
OPEN(open64)
