/* Preloaded into a process that is to die before the KILL_AT_WRITE-th call of fsync or rename, whichever thread makes it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_int calls;

static void count(void)
{
    const char *number = getenv("KILL_AT_WRITE");
    if (number && atomic_fetch_add(&calls, 1) + 1 == atoi(number))
        kill(getpid(), SIGKILL);
}

int fsync(int file)
{
    count();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

int rename(const char *from, const char *to)
{
    count();
    return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from, to);
}
