/* A disk that fails at the n-th call: preloaded into the program under test by `calls.rs`, it stands between the program and the system.
 *
 * Told by variables: FAULT_ROOT, the folder whose files count; FAULT_KIND, which calls count and what they come to; FAULT_AT, the first call
 * that fails, from 1; FAULT_CALLS, how many do from then on; FAULT_LOG, the file to which each call that counts is written. FAULT_NAME and
 * FAULT_FILE, a pattern, may say that calls of this name on files of these names count alone.
 *
 * It is C because a program that is told of calls by the linker cannot be written without `unsafe`, which this project forbids. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
    NONE,
    SYNC, /* syncs fail with EIO */
    ROOM, /* what takes room fails with ENOSPC */
    HALF, /* the same, and of the first write that fails half is done */
    KILL, /* the process is killed behind the call */
};
enum what { IS_SYNC, IS_ROOM, IS_OTHER };

static enum kind kind;
static char root[PATH_MAX];
static size_t root_len;
static long first, calls;
static const char *only_name, *only_file;
static int log_file = -1;
static atomic_long count;

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("FAULT_ROOT"), *name = getenv("FAULT_KIND"), *log = getenv("FAULT_LOG");
    const char *at = getenv("FAULT_AT"), *many = getenv("FAULT_CALLS");
    if (!folder || !name || !log || !at || !many) return;
    snprintf(root, sizeof root, "%s", folder);
    root_len = strlen(root);
    only_name = getenv("FAULT_NAME");
    only_file = getenv("FAULT_FILE");
    first = atol(at);
    calls = atol(many);
    log_file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    kind = !strcmp(name, "sync") ? SYNC : !strcmp(name, "room") ? ROOM : !strcmp(name, "half") ? HALF : KILL;
}

static int is_ours(const char *path) {
    return kind != NONE && path && !strncmp(path, root, root_len) && (path[root_len] == '/' || !path[root_len]);
}

/* The path of an open file; empty where it is none of ours. */
static const char *path_of(int file, char *path) {
    char link[64];
    path[0] = 0;
    if (kind == NONE) return path;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t len = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[len > 0 ? len : 0] = 0;
    if (!is_ours(path)) path[0] = 0;
    return path;
}

/* Counts a call. How many of those that fail came before it; -1 where it does not fail. */
static long counted(const char *call, enum what what, const char *path) {
    int counts = kind == SYNC ? what == IS_SYNC : kind == KILL ? 1 : what == IS_ROOM;
    if (!is_ours(path) || !counts) return -1;
    if (only_name && strcmp(only_name, call)) return -1;
    if (only_file && fnmatch(only_file, path + root_len, FNM_PATHNAME)) return -1;
    long number = atomic_fetch_add(&count, 1) + 1;
    int fails = number >= first && number < first + calls;
    char line[PATH_MAX + 64];
    int len = snprintf(line, sizeof line, "%s %ld %s %s\n", fails ? "FAILED" : "passed", number, call, path + root_len);
    if (log_file >= 0) syscall(SYS_write, log_file, line, (size_t)len);
    return fails ? number - first : -1;
}

/* Ends the process where a call that counts was the last one. */
static long done(long result, long fault) {
    if (fault >= 0 && kind == KILL) {
        int before = errno;
        kill(getpid(), SIGKILL);
        errno = before;
    }
    return result;
}

static int failed(int with) {
    errno = with;
    return -1;
}

#define FAILS(fault) ((fault) >= 0 && kind != KILL)

/* Syncs. */
int fsync(int file) {
    char path[PATH_MAX];
    long fault = counted("fsync", IS_SYNC, path_of(file, path));
    return FAILS(fault) ? failed(EIO) : done(syscall(SYS_fsync, file), fault);
}

int fdatasync(int file) {
    char path[PATH_MAX];
    long fault = counted("fdatasync", IS_SYNC, path_of(file, path));
    return FAILS(fault) ? failed(EIO) : done(syscall(SYS_fdatasync, file), fault);
}

/* Writes. */
ssize_t write(int file, const void *bytes, size_t len) {
    char path[PATH_MAX];
    long fault = counted("write", IS_ROOM, path_of(file, path));
    if (FAILS(fault) && kind == HALF && !fault && len > 1) return syscall(SYS_write, file, bytes, len / 2);
    return FAILS(fault) ? failed(ENOSPC) : done(syscall(SYS_write, file, bytes, len), fault);
}

ssize_t pwrite64(int file, const void *bytes, size_t len, off64_t at) {
    char path[PATH_MAX];
    long fault = counted("pwrite", IS_ROOM, path_of(file, path));
    if (FAILS(fault) && kind == HALF && !fault && len > 1) return syscall(SYS_pwrite64, file, bytes, len / 2, at);
    return FAILS(fault) ? failed(ENOSPC) : done(syscall(SYS_pwrite64, file, bytes, len, at), fault);
}

ssize_t pwrite(int file, const void *bytes, size_t len, off_t at) {
    return pwrite64(file, bytes, len, at);
}

ssize_t writev(int file, const struct iovec *parts, int many) {
    char path[PATH_MAX];
    long fault = counted("writev", IS_ROOM, path_of(file, path));
    return FAILS(fault) ? failed(ENOSPC) : done(syscall(SYS_writev, file, parts, many), fault);
}

/* To make a file shorter takes no room. */
int ftruncate64(int file, off64_t len) {
    char path[PATH_MAX];
    struct stat now;
    enum what what = fstat(file, &now) == 0 && len <= now.st_size ? IS_OTHER : IS_ROOM;
    long fault = counted("ftruncate", what, path_of(file, path));
    return FAILS(fault) ? failed(ENOSPC) : done(syscall(SYS_ftruncate, file, len), fault);
}

int ftruncate(int file, off_t len) {
    return ftruncate64(file, len);
}

int posix_fallocate64(int file, off64_t at, off64_t len) {
    char path[PATH_MAX];
    long fault = counted("fallocate", IS_ROOM, path_of(file, path));
    if (FAILS(fault)) return ENOSPC;
    return done(syscall(SYS_fallocate, file, 0, at, len), fault) < 0 ? errno : 0;
}

int posix_fallocate(int file, off_t at, off_t len) {
    return posix_fallocate64(file, at, len);
}

/* Names. */
static int opened(int folder, const char *path, int flags, mode_t mode) {
    enum what what = (flags & O_CREAT) && faccessat(folder, path, F_OK, 0) != 0 ? IS_ROOM : IS_OTHER;
    long fault = what == IS_ROOM ? counted("create", what, path) : -1;
    return FAILS(fault) ? failed(ENOSPC) : done(syscall(SYS_openat, folder, path, flags, mode), fault);
}

#define MODE(flags, mode) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...) {
    MODE(flags, mode)
    return opened(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags, mode)
    return opened(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    MODE(flags, mode)
    return opened(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...) {
    MODE(flags, mode)
    return opened(folder, path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
    int is_there = faccessat(AT_FDCWD, path, F_OK, 0) == 0;
    long fault = is_there ? -1 : counted("mkdir", IS_ROOM, path);
    return FAILS(fault) ? failed(ENOSPC) : done(syscall(SYS_mkdirat, AT_FDCWD, path, mode), fault);
}

int rename(const char *from, const char *to) {
    long fault = counted("rename", IS_ROOM, to);
    return FAILS(fault) ? failed(ENOSPC) : done(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0), fault);
}

int unlink(const char *path) {
    long fault = counted("unlink", IS_OTHER, path);
    return done(syscall(SYS_unlinkat, AT_FDCWD, path, 0), fault);
}
