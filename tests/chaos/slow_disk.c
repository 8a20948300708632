/* Loaded into a bot before libc: while the file $SLOW_DISK/slow is there, each write to a file in that folder takes 0.1 s. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static void rest(int fd) {
    const char *folder = getenv("SLOW_DISK");
    char link[64], path[4096], flag[4096];
    if (folder == NULL) return;
    snprintf(flag, sizeof flag, "%s/slow", folder);
    if (access(flag, F_OK) != 0) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return;
    path[length] = 0;
    if (strncmp(path, folder, strlen(folder)) == 0) usleep(100000);
}

#define SLOWED(name)                                                                   \
    ssize_t name(int fd, const void *data, size_t size, off_t at) {                    \
        static ssize_t (*real)(int, const void *, size_t, off_t);                      \
        if (real == NULL) real = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, #name); \
        rest(fd);                                                                      \
        return real(fd, data, size, at);                                               \
    }

SLOWED(pwrite)
SLOWED(pwrite64)
