/* A preloaded shim between a process and its files: it records what is written and synced below one
 * directory, and breaks what it is told to break.
 *
 *   POWERLOSS_DIRECTORY  only files below this directory count; without a slash at its end
 *   POWERLOSS_LOG        the record, appended to; without it nothing is recorded
 *   POWERLOSS_FAULT      "OPERATION NAME N ACTION": the Nth open, write or sync of a file whose path ends in
 *                        NAME. ACTION is `kill` (before it), `fail` (a sync fails and the process is killed
 *                        at once), or an errno as a number. A failing sync fails once, and later ones seem to
 *                        succeed, as they do on Linux; a failing write or open (for writing) fails from then
 *                        on. A sync counts when something was written before it: SQLite syncs a log once more
 *                        before it moves it into the file, and what a commit has synced that cannot lose.
 *
 * While it records, syncs are noted and not carried out: only the record decides what survives. One lock
 * holds each operation and its note together, so the record has the order of the operations.
 *
 * A note is: kind (1 byte), handle (8), number (8), length (4), then that many bytes; little-endian.
 *   O open     number: 1 when it made the file, 2 when it emptied it; bytes: the path
 *   W write    number: the offset       T truncate  number: the length
 *   S synced   E failed to sync         K mark, from `powerloss_mark`
 *   U unlink   bytes: the path          R rename    bytes: old path, zero byte, new path
 *   M mkdir    bytes: the path
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FILES_MAX = 4096, PATH_BYTES_MAX = 1024 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char directory[PATH_BYTES_MAX];
static size_t directory_length;
static int record = -1;
static uint32_t opened;
static struct { uint64_t handle; int is_faulty, is_unsynced; } files[FILES_MAX];

static struct {
    char operation[8], name[128], action[16];
    int nth, count;
} fault;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void start(void) {
    const char *below = getenv("POWERLOSS_DIRECTORY"), *log = getenv("POWERLOSS_LOG");
    const char *wanted = getenv("POWERLOSS_FAULT");
    if (below == NULL || strlen(below) >= sizeof directory) return;
    strcpy(directory, below);
    directory_length = strlen(directory);
    if (log != NULL) record = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (wanted != NULL && *wanted != 0
        && sscanf(wanted, "%7s %127s %d %15s", fault.operation, fault.name, &fault.nth, fault.action) != 4) abort();
}

static int is_below(const char *path) {
    return directory_length > 0 && strncmp(path, directory, directory_length) == 0
        && (path[directory_length] == '/' || path[directory_length] == 0);
}

/* SQLite maps this one into memory and makes it anew after a crash. */
static int is_counted(const char *path) {
    size_t length = strlen(path);
    return is_below(path) && (length < 4 || strcmp(path + length - 4, "-shm") != 0);
}

static void note(char kind, uint64_t handle, uint64_t number, const void *data, size_t length) {
    unsigned char head[21];
    uint32_t size = (uint32_t)length;
    if (record < 0) return;
    head[0] = (unsigned char)kind;
    memcpy(head + 1, &handle, 8);
    memcpy(head + 9, &number, 8);
    memcpy(head + 17, &size, 4);
    struct iovec parts[2] = {{head, sizeof head}, {(void *)data, length}};
    if (syscall(SYS_writev, record, parts, 2) != (long)(sizeof head + length)) abort();
}

static uint64_t handle_of(int fd) {
    return fd >= 0 && fd < FILES_MAX ? files[fd].handle : 0;
}

static int ends_with(const char *path, const char *name) {
    size_t length = strlen(path), tail = strlen(name);
    return length >= tail && strcmp(path + length - tail, name) == 0;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Whether this operation is to fail; errno says how. */
static int fails(const char *operation) {
    int is_once = strcmp(operation, "sync") == 0;
    fault.count++;
    if (fault.count < fault.nth || (is_once && fault.count > fault.nth)) return 0;
    if (strcmp(fault.action, "kill") == 0) die();
    errno = atoi(fault.action);
    return 1;
}

static int is_faulty(int fd, const char *operation) {
    return handle_of(fd) != 0 && files[fd].is_faulty && strcmp(operation, fault.operation) == 0 && fails(operation);
}

static int open_noted(int at, const char *path, int flags, mode_t mode) {
    int is_there, fd;
    if (!is_counted(path)) {
        fd = (int)syscall(SYS_openat, at, path, flags, mode);
        if (fd >= 0 && fd < FILES_MAX) files[fd].handle = 0;
        return fd;
    }
    pthread_mutex_lock(&lock);
    int writes = (flags & (O_WRONLY | O_RDWR | O_CREAT)) != 0;
    if (writes && strcmp(fault.operation, "open") == 0 && ends_with(path, fault.name) && fails("open")) {
        pthread_mutex_unlock(&lock);
        return -1;
    }
    is_there = access(path, F_OK) == 0;
    fd = (int)syscall(SYS_openat, at, path, flags, mode);
    if (fd >= 0 && fd < FILES_MAX) {
        files[fd].handle = (uint64_t)getpid() << 32 | ++opened;
        files[fd].is_faulty = fault.nth > 0 && ends_with(path, fault.name);
        files[fd].is_unsynced = 0;
        note('O', files[fd].handle, (is_there ? 0 : 1) | (flags & O_TRUNC ? 2 : 0), path, strlen(path));
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

#define MODE_OF(flags, mode) \
    do { \
        va_list rest; \
        va_start(rest, flags); \
        mode = (flags) & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
    } while (0)

int open(const char *path, int flags, ...) {
    mode_t mode;
    MODE_OF(flags, mode);
    return open_noted(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    mode_t mode;
    MODE_OF(flags, mode);
    return open_noted(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

int openat(int at, const char *path, int flags, ...) {
    mode_t mode;
    MODE_OF(flags, mode);
    return open_noted(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) {
    mode_t mode;
    MODE_OF(flags, mode);
    return open_noted(at, path, flags | O_LARGEFILE, mode);
}

int close(int fd) {
    if (fd >= 0 && fd < FILES_MAX) files[fd].handle = 0;
    return REAL(close)(fd);
}

static ssize_t write_noted(int fd, const void *data, size_t length, off64_t offset) {
    ssize_t written = -1;
    pthread_mutex_lock(&lock);
    if (!is_faulty(fd, "write")) {
        off64_t from = offset >= 0 ? offset : lseek64(fd, 0, SEEK_CUR);
        written = offset >= 0 ? syscall(SYS_pwrite64, fd, data, length, offset) : syscall(SYS_write, fd, data, length);
        if (written > 0) {
            note('W', handle_of(fd), (uint64_t)from, data, (size_t)written);
            files[fd].is_unsynced = 1;
        }
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return written;
}

ssize_t write(int fd, const void *data, size_t length) {
    if (handle_of(fd) == 0) return syscall(SYS_write, fd, data, length);
    return write_noted(fd, data, length, -1);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    if (handle_of(fd) == 0) return syscall(SYS_pwrite64, fd, data, length, offset);
    return write_noted(fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    return pwrite64(fd, data, length, offset);
}

int ftruncate64(int fd, off64_t length) {
    if (handle_of(fd) == 0) return (int)syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_ftruncate, fd, length);
    if (result == 0) note('T', handle_of(fd), (uint64_t)length, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int fd, off_t length) {
    return ftruncate64(fd, length);
}

static int sync_noted(int fd, long number) {
    int result = 0;
    if (handle_of(fd) == 0) return (int)syscall(number, fd);
    pthread_mutex_lock(&lock);
    int is_needed = files[fd].is_unsynced;
    files[fd].is_unsynced = 0;
    if (is_needed && is_faulty(fd, "sync")) {
        result = -1;
        note('E', handle_of(fd), 0, "", 0);
        if (strcmp(fault.action, "fail") == 0) die();
    } else if (record >= 0) {
        note('S', handle_of(fd), 0, "", 0);
    } else {
        result = (int)syscall(number, fd);
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int fsync(int fd) {
    return sync_noted(fd, SYS_fsync);
}

int fdatasync(int fd) {
    return sync_noted(fd, SYS_fdatasync);
}

int unlink(const char *path) {
    if (!is_counted(path)) return REAL(unlink)(path);
    pthread_mutex_lock(&lock);
    int result = REAL(unlink)(path), error = errno;
    if (result == 0) note('U', 0, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int rename(const char *from, const char *to) {
    if (!is_counted(from) || !is_counted(to)) return REAL(rename)(from, to);
    char both[2 * PATH_BYTES_MAX + 1];
    size_t first = strlen(from) + 1;
    pthread_mutex_lock(&lock);
    int result = REAL(rename)(from, to), error = errno;
    if (result == 0 && first + strlen(to) < sizeof both) {
        strcpy(both, from);
        strcpy(both + first, to);
        note('R', 0, 0, both, first + strlen(to));
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int mkdir(const char *path, mode_t mode) {
    if (!is_counted(path)) return REAL(mkdir)(path, mode);
    pthread_mutex_lock(&lock);
    int result = REAL(mkdir)(path, mode), error = errno;
    if (result == 0) note('M', 0, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

/* The workload says what it has shown to others by now. */
void powerloss_mark(const void *data, size_t length) {
    pthread_mutex_lock(&lock);
    note('K', 0, 0, data, length);
    pthread_mutex_unlock(&lock);
}
