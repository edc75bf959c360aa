/* System calls that fail once, for test_system_calls.py: cc -shared -fPIC -o shim.so shim.c -ldl -pthread

A process starts with LD_PRELOAD=shim.so. After shim_arm, the shim counts the calls of each kind whose path is below a
folder. The n-th call of one kind fails with an error, or the process kills itself with SIGKILL before this call. For
calls on a descriptor or a stream, /proc/self/fd gives the path. Forked children continue to count.

The C library's own calls, such as the write inside fwrite, do not reach the shim. Therefore the functions of stdio are
replaced too. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { OPEN, READ, WRITE, FSYNC, RENAME, LINK, UNLINK, MKDIR, LIST, STAT, KINDS };
enum { PATH_BYTES = 4096 };

struct record { /* content of a file that all processes of a command and the test share */
    int64_t counts[KINDS];
    int64_t fired;
    char where[PATH_BYTES];
};

static struct record *record; /* NULL: not armed */
static char watched[PATH_BYTES];
static size_t watched_length;
static int fault_kind, fault_error; /* error 0: SIGKILL */
static int64_t fault_number; /* 0: only count */

/* Count the calls below `folder`; fail at call number `number` of a kind. Return 0, or -1 on an error. */
int shim_arm(const char *file, const char *folder, int kind, int64_t number, int error) {
    int descriptor = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0 || ftruncate(descriptor, sizeof(struct record)) < 0) return -1;
    void *memory = mmap(NULL, sizeof(struct record), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (memory == MAP_FAILED) return -1;
    watched_length = strlen(folder);
    memcpy(watched, folder, watched_length + 1);
    fault_kind = kind;
    fault_number = number;
    fault_error = error;
    record = memory;
    return 0;
}

static ssize_t link_target(const char *link, char *path) {
    ssize_t length = readlink(link, path, PATH_BYTES - 1);
    path[length < 0 ? 0 : length] = 0;
    return length;
}

static int descriptor_path(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    return link_target(link, path) > 0;
}

static int absolute_path(int folder, const char *name, char *path) {
    if (name == NULL) return 0;
    size_t used = 0;
    if (name[0] != '/') {
        int known = folder == AT_FDCWD ? getcwd(path, PATH_BYTES) != NULL : descriptor_path(folder, path);
        if (!known) return 0;
        used = strlen(path);
        path[used++] = '/';
    }
    if (used + strlen(name) >= PATH_BYTES) return 0;
    strcpy(path + used, name);
    return 1;
}

/* Count a call. Return whether it must fail; errno is then set. */
static int fails(enum kind kind, const char *path) {
    if (strncmp(path, watched, watched_length) != 0) return 0;
    int64_t number = __atomic_add_fetch(&record->counts[kind], 1, __ATOMIC_SEQ_CST);
    if ((int)kind != fault_kind || number != fault_number) return 0;
    strncpy(record->where, path, PATH_BYTES - 1);
    record->fired = 1;
    if (fault_error == 0) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    errno = fault_error;
    return 1;
}

static int path_fails(enum kind kind, int folder, const char *name) {
    if (record == NULL) return 0;
    char path[PATH_BYTES];
    int before = errno, fault = absolute_path(folder, name, path) && fails(kind, path);
    if (!fault) errno = before;
    return fault;
}

static int descriptor_fails(enum kind kind, int descriptor) {
    if (record == NULL) return 0;
    char path[PATH_BYTES];
    int before = errno, fault = descriptor_path(descriptor, path) && fails(kind, path);
    if (!fault) errno = before;
    return fault;
}

static int stream_fails(enum kind kind, FILE *stream) {
    return record != NULL && stream != NULL && descriptor_fails(kind, fileno(stream));
}

/* Define a function NAME that fails if FAULT is true, and otherwise calls the real function. */
#define REPLACE(TYPE, NAME, PARAMETERS, ARGUMENTS, FAULT, FAILURE)                                                     \
    TYPE NAME PARAMETERS {                                                                                             \
        static TYPE(*real) PARAMETERS;                                                                                 \
        if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, #NAME);                                                   \
        if (FAULT) return FAILURE;                                                                                     \
        return real ARGUMENTS;                                                                                         \
    }

#define MODE(MODE_OF_FILE, FLAGS)                                                                                      \
    mode_t MODE_OF_FILE = 0;                                                                                           \
    if ((FLAGS) & O_CREAT || ((FLAGS) & O_TMPFILE) == O_TMPFILE) {                                                       \
        va_list rest;                                                                                                  \
        va_start(rest, FLAGS);                                                                                         \
        MODE_OF_FILE = va_arg(rest, mode_t);                                                                           \
        va_end(rest);                                                                                                  \
    }

#define REPLACE_OPEN(NAME)                                                                                             \
    int NAME(const char *path, int flags, ...) {                                                                       \
        static int (*real)(const char *, int, ...);                                                                    \
        if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, #NAME);                                                   \
        MODE(mode, flags)                                                                                              \
        return path_fails(OPEN, AT_FDCWD, path) ? -1 : real(path, flags, mode);                                        \
    }

#define REPLACE_OPENAT(NAME)                                                                                           \
    int NAME(int folder, const char *path, int flags, ...) {                                                           \
        static int (*real)(int, const char *, int, ...);                                                               \
        if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, #NAME);                                                   \
        MODE(mode, flags)                                                                                              \
        return path_fails(OPEN, folder, path) ? -1 : real(folder, path, flags, mode);                                  \
    }

REPLACE_OPEN(open)
REPLACE_OPEN(open64)
REPLACE_OPENAT(openat)
REPLACE_OPENAT(openat64)
REPLACE(int, creat, (const char *p, mode_t m), (p, m), path_fails(OPEN, AT_FDCWD, p), -1)
REPLACE(FILE *, fopen, (const char *p, const char *m), (p, m), path_fails(OPEN, AT_FDCWD, p), NULL)
REPLACE(FILE *, fopen64, (const char *p, const char *m), (p, m), path_fails(OPEN, AT_FDCWD, p), NULL)

REPLACE(ssize_t, read, (int d, void *b, size_t n), (d, b, n), descriptor_fails(READ, d), -1)
REPLACE(ssize_t, readv, (int d, const struct iovec *v, int n), (d, v, n), descriptor_fails(READ, d), -1)
REPLACE(ssize_t, pread, (int d, void *b, size_t n, off_t o), (d, b, n, o), descriptor_fails(READ, d), -1)
REPLACE(ssize_t, pread64, (int d, void *b, size_t n, off64_t o), (d, b, n, o), descriptor_fails(READ, d), -1)
REPLACE(size_t, fread, (void *b, size_t s, size_t n, FILE *f), (b, s, n, f), stream_fails(READ, f), 0)

REPLACE(ssize_t, write, (int d, const void *b, size_t n), (d, b, n), descriptor_fails(WRITE, d), -1)
REPLACE(ssize_t, writev, (int d, const struct iovec *v, int n), (d, v, n), descriptor_fails(WRITE, d), -1)
REPLACE(ssize_t, pwrite, (int d, const void *b, size_t n, off_t o), (d, b, n, o), descriptor_fails(WRITE, d), -1)
REPLACE(ssize_t, pwrite64, (int d, const void *b, size_t n, off64_t o), (d, b, n, o), descriptor_fails(WRITE, d), -1)
REPLACE(ssize_t, sendfile, (int t, int f, off_t *o, size_t n), (t, f, o, n), descriptor_fails(WRITE, t), -1)
REPLACE(ssize_t, sendfile64, (int t, int f, off64_t *o, size_t n), (t, f, o, n), descriptor_fails(WRITE, t), -1)
REPLACE(ssize_t, copy_file_range, (int f, off64_t *i, int t, off64_t *o, size_t n, unsigned int k), (f, i, t, o, n, k),
        descriptor_fails(WRITE, t), -1)
REPLACE(int, ftruncate, (int d, off_t n), (d, n), descriptor_fails(WRITE, d), -1)
REPLACE(int, ftruncate64, (int d, off64_t n), (d, n), descriptor_fails(WRITE, d), -1)
REPLACE(int, posix_fallocate, (int d, off_t o, off_t n), (d, o, n), descriptor_fails(WRITE, d), errno)
REPLACE(int, posix_fallocate64, (int d, off64_t o, off64_t n), (d, o, n), descriptor_fails(WRITE, d), errno)
REPLACE(size_t, fwrite, (const void *b, size_t s, size_t n, FILE *f), (b, s, n, f), stream_fails(WRITE, f), 0)
REPLACE(int, fflush, (FILE *f), (f), stream_fails(WRITE, f), EOF)
REPLACE(int, fclose, (FILE *f), (f), __fwriting(f) && stream_fails(WRITE, f), (real(f), errno = fault_error, EOF))

REPLACE(int, fsync, (int d), (d), descriptor_fails(FSYNC, d), -1)
REPLACE(int, fdatasync, (int d), (d), descriptor_fails(FSYNC, d), -1)

REPLACE(int, rename, (const char *p, const char *q), (p, q), path_fails(RENAME, AT_FDCWD, q), -1)
REPLACE(int, renameat, (int d, const char *p, int e, const char *q), (d, p, e, q), path_fails(RENAME, e, q), -1)
REPLACE(int, renameat2, (int d, const char *p, int e, const char *q, unsigned int k), (d, p, e, q, k),
        path_fails(RENAME, e, q), -1)

REPLACE(int, link, (const char *p, const char *q), (p, q), path_fails(LINK, AT_FDCWD, q), -1)
REPLACE(int, linkat, (int d, const char *p, int e, const char *q, int k), (d, p, e, q, k), path_fails(LINK, e, q), -1)
REPLACE(int, symlink, (const char *p, const char *q), (p, q), path_fails(LINK, AT_FDCWD, q), -1)
REPLACE(int, symlinkat, (const char *p, int e, const char *q), (p, e, q), path_fails(LINK, e, q), -1)

REPLACE(int, unlink, (const char *p), (p), path_fails(UNLINK, AT_FDCWD, p), -1)
REPLACE(int, unlinkat, (int d, const char *p, int k), (d, p, k), path_fails(UNLINK, d, p), -1)
REPLACE(int, rmdir, (const char *p), (p), path_fails(UNLINK, AT_FDCWD, p), -1)
REPLACE(int, remove, (const char *p), (p), path_fails(UNLINK, AT_FDCWD, p), -1)

REPLACE(int, mkdir, (const char *p, mode_t m), (p, m), path_fails(MKDIR, AT_FDCWD, p), -1)
REPLACE(int, mkdirat, (int d, const char *p, mode_t m), (d, p, m), path_fails(MKDIR, d, p), -1)

/* Their headers are not included, because some versions of glibc define these functions there. */
typedef void Folder;
struct stat;
struct stat64;
REPLACE(Folder *, opendir, (const char *p), (p), path_fails(LIST, AT_FDCWD, p), NULL)
REPLACE(Folder *, fdopendir, (int d), (d), descriptor_fails(LIST, d), NULL)
REPLACE(int, stat, (const char *p, struct stat *s), (p, s), path_fails(STAT, AT_FDCWD, p), -1)
REPLACE(int, stat64, (const char *p, struct stat64 *s), (p, s), path_fails(STAT, AT_FDCWD, p), -1)
REPLACE(int, lstat, (const char *p, struct stat *s), (p, s), path_fails(STAT, AT_FDCWD, p), -1)
REPLACE(int, lstat64, (const char *p, struct stat64 *s), (p, s), path_fails(STAT, AT_FDCWD, p), -1)
REPLACE(int, fstat, (int d, struct stat *s), (d, s), descriptor_fails(STAT, d), -1)
REPLACE(int, fstat64, (int d, struct stat64 *s), (d, s), descriptor_fails(STAT, d), -1)
REPLACE(int, fstatat, (int d, const char *p, struct stat *s, int k), (d, p, s, k), path_fails(STAT, d, p), -1)
REPLACE(int, fstatat64, (int d, const char *p, struct stat64 *s, int k), (d, p, s, k), path_fails(STAT, d, p), -1)
REPLACE(int, __xstat, (int v, const char *p, struct stat *s), (v, p, s), path_fails(STAT, AT_FDCWD, p), -1)
REPLACE(int, __xstat64, (int v, const char *p, struct stat64 *s), (v, p, s), path_fails(STAT, AT_FDCWD, p), -1)
REPLACE(int, __lxstat, (int v, const char *p, struct stat *s), (v, p, s), path_fails(STAT, AT_FDCWD, p), -1)
REPLACE(int, __lxstat64, (int v, const char *p, struct stat64 *s), (v, p, s), path_fails(STAT, AT_FDCWD, p), -1)
REPLACE(int, __fxstat, (int v, int d, struct stat *s), (v, d, s), descriptor_fails(STAT, d), -1)
REPLACE(int, __fxstat64, (int v, int d, struct stat64 *s), (v, d, s), descriptor_fails(STAT, d), -1)
