/* Records, in order, every call by which a process changes files below one folder.
 *
 * Preloaded into the recorded process. POWER_CUT_ROOT is the folder (absolute, resolved),
 * POWER_CUT_LOG the file that takes the records, POWER_CUT_SYNC_US the longest time one sync
 * takes, microseconds. Each record is a line, and after a `W` or `A` line that many bytes:
 *
 *   O <handle> <is-folder> <created> <truncated> <path>   C <handle>
 *   W <handle> <offset> <bytes>                           T <handle> <size>
 *   S <handle>  a sync begins                             E <handle>  it is done
 *   R <path>\t<path>  renamed     U <path>  unlinked
 *   M <path>  folder made         X <path>  folder removed
 *   A <bytes>  a mark by the process: what it has just told somebody
 *
 * One lock is held over each call and its record, so the records' order is the calls' order.
 * It is not held while a sync lasts: other threads go on meanwhile, and what they write is not
 * covered by that sync. Nothing is synced in earnest; whether a sync counts is decided by
 * whoever replays the records.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define MAX_FD 65536
#define REAL(name) ((__typeof__(&name))real(#name))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long handle_of[MAX_FD]; /* 0: not a file below the root */
static long handles;
static const char *root;
static size_t root_length;
static long sync_us;
static int log_fd = -1;
static unsigned seed = 1;

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) {
        fprintf(stderr, "power cut recorder: no %s\n", name);
        abort();
    }
    return found;
}

static void put(const void *data, size_t length)
{
    ssize_t (*real_write)(int, const void *, size_t) = real("write");
    const char *at = data;
    while (length) {
        ssize_t done = real_write(log_fd, at, length);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            fprintf(stderr, "power cut recorder: the log cannot be written\n");
            abort();
        }
        at += done;
        length -= (size_t)done;
    }
}

static void record(const char *format, ...)
{
    char line[8192 + 64];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(line, sizeof line, format, values);
    va_end(values);
    if (length < 0 || (size_t)length >= sizeof line)
        abort();
    put(line, (size_t)length);
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("POWER_CUT_LOG"), *longest = getenv("POWER_CUT_SYNC_US");
    const char *folder = getenv("POWER_CUT_ROOT");
    int (*real_open)(const char *, int, ...) = real("open");
    if (!path || !folder)
        return;
    log_fd = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        abort();
    sync_us = longest ? atol(longest) : 0;
    root_length = strlen(folder);
    root = folder;
}

static int below(const char *path)
{
    return root && path && !strncmp(path, root, root_length) &&
           (path[root_length] == '/' || !path[root_length]);
}

/* A relative name in a folder handle would escape this recorder: it must not go unnoticed. */
static void require_plain(int folder, const char *path)
{
    if (root && path && path[0] != '/' && folder >= 0 && folder < MAX_FD && handle_of[folder]) {
        fprintf(stderr, "power cut recorder: %s is relative to a folder handle\n", path);
        abort();
    }
}

static long of(int fd)
{
    return fd >= 0 && fd < MAX_FD ? handle_of[fd] : 0;
}

/* --- opening and closing ---------------------------------------------------------------- */

static int opened(int folder, const char *path, int flags, mode_t mode)
{
    int (*real_openat)(int, const char *, int, ...) = real("openat64");
    require_plain(folder, path);
    if (!below(path))
        return real_openat(folder, path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat state;
    int existed = !stat(path, &state);
    int fd = real_openat(folder, path, flags, mode);
    int problem = errno;
    if (fd >= MAX_FD)
        abort();
    if (fd >= 0 && !fstat(fd, &state)) {
        handle_of[fd] = ++handles;
        record("O %ld %d %d %d %s\n", handle_of[fd], S_ISDIR(state.st_mode), !existed,
               (flags & O_TRUNC) != 0, path);
    }
    pthread_mutex_unlock(&lock);
    errno = problem;
    return fd;
}

#define MODE                                                                                       \
    mode_t mode = 0;                                                                               \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                                         \
        va_list values;                                                                            \
        va_start(values, flags);                                                                   \
        mode = va_arg(values, mode_t);                                                             \
        va_end(values);                                                                            \
    }

int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...)
{
    MODE return opened(at, path, flags, mode);
}

int close(int fd)
{
    if (!of(fd))
        return REAL(close)(fd);
    pthread_mutex_lock(&lock);
    record("C %ld\n", handle_of[fd]);
    handle_of[fd] = 0;
    int done = REAL(close)(fd);
    pthread_mutex_unlock(&lock);
    return done;
}

/* --- contents --------------------------------------------------------------------------- */

static void wrote(int fd, off_t offset, const void *data, ssize_t done)
{
    if (done <= 0)
        return;
    record("W %ld %lld %zd\n", handle_of[fd], (long long)offset, done);
    put(data, (size_t)done);
}

ssize_t write(int fd, const void *data, size_t length)
{
    if (!of(fd))
        return REAL(write)(fd, data, length);
    pthread_mutex_lock(&lock);
    ssize_t done = REAL(write)(fd, data, length);
    int problem = errno;
    wrote(fd, lseek(fd, 0, SEEK_CUR) - done, data, done);
    pthread_mutex_unlock(&lock);
    errno = problem;
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset)
{
    if (!of(fd))
        return REAL(pwrite64)(fd, data, length, offset);
    pthread_mutex_lock(&lock);
    ssize_t done = REAL(pwrite64)(fd, data, length, offset);
    int problem = errno;
    wrote(fd, offset, data, done);
    pthread_mutex_unlock(&lock);
    errno = problem;
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
    return pwrite64(fd, data, length, offset);
}

int ftruncate64(int fd, off_t size)
{
    if (!of(fd))
        return REAL(ftruncate64)(fd, size);
    pthread_mutex_lock(&lock);
    int done = REAL(ftruncate64)(fd, size);
    int problem = errno;
    if (!done)
        record("T %ld %lld\n", handle_of[fd], (long long)size);
    pthread_mutex_unlock(&lock);
    errno = problem;
    return done;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int synced(int fd)
{
    pthread_mutex_lock(&lock);
    long handle = handle_of[fd];
    record("S %ld\n", handle);
    long pause = sync_us ? rand_r(&seed) % sync_us : 0;
    pthread_mutex_unlock(&lock);
    usleep((useconds_t)pause);
    pthread_mutex_lock(&lock);
    record("E %ld\n", handle);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd) { return of(fd) ? synced(fd) : REAL(fsync)(fd); }
int fdatasync(int fd) { return of(fd) ? synced(fd) : REAL(fdatasync)(fd); }

/* --- names ------------------------------------------------------------------------------ */

int rename(const char *from, const char *to)
{
    if (!below(from) && !below(to))
        return REAL(rename)(from, to);
    pthread_mutex_lock(&lock);
    int done = REAL(rename)(from, to);
    int problem = errno;
    if (!done)
        record("R %s\t%s\n", from, to);
    pthread_mutex_unlock(&lock);
    errno = problem;
    return done;
}

static int named(const char *kind, const char *path, int done)
{
    int problem = errno;
    if (!done)
        record("%s %s\n", kind, path);
    pthread_mutex_unlock(&lock);
    errno = problem;
    return done;
}

int unlink(const char *path)
{
    if (!below(path))
        return REAL(unlink)(path);
    pthread_mutex_lock(&lock);
    return named("U", path, REAL(unlink)(path));
}

int mkdir(const char *path, mode_t mode)
{
    if (!below(path))
        return REAL(mkdir)(path, mode);
    pthread_mutex_lock(&lock);
    return named("M", path, REAL(mkdir)(path, mode));
}

int rmdir(const char *path)
{
    if (!below(path))
        return REAL(rmdir)(path);
    pthread_mutex_lock(&lock);
    return named("X", path, REAL(rmdir)(path));
}

/* --- marks ------------------------------------------------------------------------------ */

void power_cut_mark(const char *data, size_t length)
{
    pthread_mutex_lock(&lock);
    record("A %zu\n", length);
    put(data, length);
    pthread_mutex_unlock(&lock);
}
