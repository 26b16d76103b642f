/* A clock that is ahead: preloaded into the program that is recorded by `record.rs`, it stands between the program and the system's.
 *
 * CLOCK_AHEAD says by how many seconds the time of day is later than the machine's. What nobody can set goes on as it is.
 *
 * It is C because a program that is told of calls by the linker cannot be written without `unsafe`, which this project forbids. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    /* The C library's, which mostly needs no call of the system. Two threads may both be the first to ask, and come to the same. */
    static int (*of_machine)(clockid_t, struct timespec *);
    static long ahead;
    if (!of_machine) {
        const char *seconds = getenv("CLOCK_AHEAD");
        ahead = seconds ? atol(seconds) : 0;
        *(void **)&of_machine = dlsym(RTLD_NEXT, "clock_gettime");
    }
    int answer = of_machine(clock, now);
    if (!answer && clock == CLOCK_REALTIME) now->tv_sec += ahead;
    return answer;
}
