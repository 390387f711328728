/* Preloaded into a process that is to die before the KILL_AT_WRITE-th call of fsync or rename, whichever thread makes it.
   From the FAIL_FROM_STATUS-th status on, the disk is full. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_int calls;
static atomic_int statuses;

static void count(void)
{
    const char *number = getenv("KILL_AT_WRITE");
    if (number && atomic_fetch_add(&calls, 1) + 1 == atoi(number))
        kill(getpid(), SIGKILL);
}

static int is_full(const char *to)
{
    const char *number = getenv("FAIL_FROM_STATUS");
    return number && strstr(to, ".status.json") && atomic_fetch_add(&statuses, 1) + 1 >= atoi(number);
}

int fsync(int file)
{
    count();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

int rename(const char *from, const char *to)
{
    count();
    if (is_full(to)) {
        errno = ENOSPC;
        return -1;
    }
    return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from, to);
}
