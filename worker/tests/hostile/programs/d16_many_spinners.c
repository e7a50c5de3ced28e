// Sixty processes, each of which spins and asks for every core, again and again.
#define _GNU_SOURCE
#include <sched.h>
#include <unistd.h>
int main(void) {
    for (int i = 0; i < 60; i++)
        if (fork() == 0) break;
    cpu_set_t all;
    CPU_ZERO(&all);
    for (int core = 0; core < 64; core++) CPU_SET(core, &all);
    for (unsigned long i = 0;; i++)
        if (i % 1000000 == 0) sched_setaffinity(0, sizeof all, &all);
}
