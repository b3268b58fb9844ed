/* Records what a process does to the files below one folder, in the order in which it happens.
 *
 * Loaded with LD_PRELOAD. RECORDER_ROOT is the folder (absolute, without links), RECORDER_LOG the file that takes the
 * records; it lies outside the folder. A call and its record are one step under one lock, so the log is the order of
 * the calls, and a sync covers exactly what stands before it. Files are told apart by their inode, folders by their
 * path. The shared memory of SQLite (-shm) is left out: it is made anew after a crash. Writes through mmap are not
 * seen, nor those of stdio; the test compares a replay of the log with the real folder, which would show them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { CREATE = 1, WRITE, RESIZE, SYNC_FILE, SYNC_FOLDER, RENAME, LINK, UNLINK, MKDIR, RMDIR, NOTE };

struct header {
    uint32_t kind, path_bytes, other_bytes, data_bytes;
    uint64_t inode;
    int64_t offset;
};

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define PATH_ROOM (2 * PATH_MAX)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_bytes;
static int log_fd = -1;
static ssize_t (*real_writev)(int, const struct iovec *, int);

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("RECORDER_ROOT"), *log = getenv("RECORDER_LOG");
    if (!folder || !log || strlen(folder) >= sizeof root) return;
    strcpy(root, folder);
    root_bytes = strlen(root);
    real_writev = REAL(writev);
    log_fd = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void put(enum kind kind, const char *path, const char *other, uint64_t inode, int64_t offset, const void *data,
                size_t bytes) {
    struct header header = {kind, strlen(path), strlen(other), bytes, inode, offset};
    struct iovec parts[] = {{&header, sizeof header},
                            {(void *)path, header.path_bytes},
                            {(void *)other, header.other_bytes},
                            {(void *)data, bytes}};
    ssize_t all = sizeof header + header.path_bytes + header.other_bytes + bytes;
    int before = errno;
    if (real_writev(log_fd, parts, 4) != all) abort();
    errno = before;
}

/* The part of a full path below the root; NULL if it lies elsewhere or is left out. "" is the root itself. */
static const char *below(const char *path) {
    size_t bytes = strlen(path);
    if (log_fd < 0 || strncmp(path, root, root_bytes)) return NULL;
    if (bytes >= 4 && !strcmp(path + bytes - 4, "-shm")) return NULL;
    if (path[root_bytes] == '/') return path + root_bytes + 1;
    return path[root_bytes] ? NULL : path + root_bytes;
}

static const char *of_fd(int fd, char *room) {
    char link[64];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t bytes = readlink(link, room, PATH_MAX - 1);
    errno = before;
    if (bytes < 0) return NULL;
    room[bytes] = 0;
    return below(room);
}

static const char *of_path(int folder, const char *path, char *room) {
    room[0] = 0;
    if (path[0] != '/') {
        if (folder != AT_FDCWD) of_fd(folder, room);
        else if (!getcwd(room, PATH_MAX)) return NULL;
        strcat(room, "/");
    }
    strncat(room, path, PATH_MAX - 1);
    return below(room);
}

static uint64_t inode_of(int fd, off_t *size) {
    struct stat about;
    if (fstat(fd, &about)) abort();
    if (size) *size = about.st_size;
    return about.st_ino;
}

/* ---- files are made and cut to a size */

typedef int (*opener)(int, const char *, int, ...);

static int opened(opener real, int folder, const char *path, int flags, mode_t mode) {
    char room[PATH_ROOM];
    const char *name = flags & (O_CREAT | O_TRUNC) ? of_path(folder, path, room) : NULL;
    if (!name) return real(folder, path, flags, mode);
    pthread_mutex_lock(&lock);
    int there = faccessat(folder, path, F_OK, 0) == 0;
    int fd = real(folder, path, flags, mode);
    if (fd >= 0 && !there) put(CREATE, name, "", inode_of(fd, NULL), 0, "", 0);
    else if (fd >= 0 && flags & O_TRUNC) put(RESIZE, name, "", inode_of(fd, NULL), 0, "", 0);
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & O_CREAT) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...) { MODE(flags) return opened(REAL(openat), AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(REAL(openat64), AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) {
    MODE(flags) return opened(REAL(openat), folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
    MODE(flags) return opened(REAL(openat64), folder, path, flags, mode);
}
int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open64(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

static int resized(int fd, off_t size, int (*real)(int, off_t)) {
    char room[PATH_ROOM];
    const char *name = of_fd(fd, room);
    if (!name) return real(fd, size);
    pthread_mutex_lock(&lock);
    int result = real(fd, size);
    if (!result) put(RESIZE, name, "", inode_of(fd, NULL), size, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int fd, off_t size) { return resized(fd, size, REAL(ftruncate)); }
int ftruncate64(int fd, off64_t size) { return resized(fd, size, REAL(ftruncate)); }
int truncate(const char *path, off_t size) {
    int fd = open(path, O_WRONLY | O_CLOEXEC), result = fd < 0 ? -1 : ftruncate(fd, size);
    if (fd >= 0) close(fd);
    return result;
}
int truncate64(const char *path, off64_t size) { return truncate(path, size); }

/* ---- bytes are written */

#define WRITTEN(fd, at, bytes_of, call) \
    char room[PATH_ROOM]; \
    const char *name = of_fd(fd, room); \
    if (!name) return call; \
    pthread_mutex_lock(&lock); \
    off_t size; \
    uint64_t inode = inode_of(fd, &size); \
    off_t offset = at; \
    if (fcntl(fd, F_GETFL) & O_APPEND) offset = size; \
    ssize_t count = call; \
    if (count > 0) put(WRITE, name, "", inode, offset, bytes_of, count); \
    pthread_mutex_unlock(&lock); \
    return count;

ssize_t write(int fd, const void *bytes, size_t most) {
    WRITTEN(fd, lseek(fd, 0, SEEK_CUR), bytes, REAL(write)(fd, bytes, most))
}
ssize_t pwrite(int fd, const void *bytes, size_t most, off_t where) {
    WRITTEN(fd, where, bytes, REAL(pwrite)(fd, bytes, most, where))
}
ssize_t pwrite64(int fd, const void *bytes, size_t most, off64_t where) {
    WRITTEN(fd, where, bytes, REAL(pwrite64)(fd, bytes, most, where))
}

/* A vector is written part by part: fewer bytes than asked for are within what writev may do. */
ssize_t writev(int fd, const struct iovec *parts, int count) {
    char room[PATH_ROOM];
    if (!of_fd(fd, room)) return REAL(writev)(fd, parts, count);
    while (count > 1 && !parts->iov_len) parts++, count--;
    return write(fd, parts->iov_base, parts->iov_len);
}
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t where, int flags) {
    char room[PATH_ROOM];
    if (!of_fd(fd, room)) return REAL(pwritev2)(fd, parts, count, where, flags);
    while (count > 1 && !parts->iov_len) parts++, count--;
    return pwrite(fd, parts->iov_base, parts->iov_len, where);
}
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t where, int flags) {
    return pwritev2(fd, parts, count, where, flags);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t where) {
    return pwritev2(fd, parts, count, where, 0);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t where) {
    return pwritev2(fd, parts, count, where, 0);
}

/* ---- what must be on the disk */

static int synced(int fd, int (*real)(int)) {
    char room[PATH_ROOM];
    const char *name = of_fd(fd, room);
    if (!name) return real(fd);
    pthread_mutex_lock(&lock);
    struct stat about;
    int result = real(fd);
    if (!result && !fstat(fd, &about))
        put(S_ISDIR(about.st_mode) ? SYNC_FOLDER : SYNC_FILE, name, "", about.st_ino, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

/* ---- names */

#define NAMED(kind, folder, path, other_folder, other, call) \
    char room[PATH_ROOM], other_room[PATH_ROOM]; \
    const char *name = of_path(folder, path, room), *second = of_path(other_folder, other, other_room); \
    if (!name && !second) return call; \
    pthread_mutex_lock(&lock); \
    int result = call; \
    if (!result) put(kind, name ? name : "?", second ? second : "", 0, 0, "", 0); \
    pthread_mutex_unlock(&lock); \
    return result;

int renameat2(int folder, const char *path, int other_folder, const char *other, unsigned flags) {
    NAMED(RENAME, folder, path, other_folder, other, REAL(renameat2)(folder, path, other_folder, other, flags))
}
int renameat(int folder, const char *path, int other_folder, const char *other) {
    return renameat2(folder, path, other_folder, other, 0);
}
int rename(const char *path, const char *other) { return renameat2(AT_FDCWD, path, AT_FDCWD, other, 0); }
int linkat(int folder, const char *path, int other_folder, const char *other, int flags) {
    NAMED(LINK, folder, path, other_folder, other, REAL(linkat)(folder, path, other_folder, other, flags))
}
int link(const char *path, const char *other) { return linkat(AT_FDCWD, path, AT_FDCWD, other, 0); }
int unlinkat(int folder, const char *path, int flags) {
    NAMED(flags & AT_REMOVEDIR ? RMDIR : UNLINK, folder, path, AT_FDCWD, "/", REAL(unlinkat)(folder, path, flags))
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int mkdirat(int folder, const char *path, mode_t mode) {
    NAMED(MKDIR, folder, path, AT_FDCWD, "/", REAL(mkdirat)(folder, path, mode))
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* ---- what the program itself has to say, in its place among the calls */

void recorder_note(const char *text) {
    pthread_mutex_lock(&lock);
    put(NOTE, "", "", 0, 0, text, strlen(text));
    pthread_mutex_unlock(&lock);
}
