// The same calls by the doors that a filter forgets: x32 numbers and 32-bit int 0x80.
#define _GNU_SOURCE
#include <stdio.h>
#include <unistd.h>
#include <sys/wait.h>
#include <sys/syscall.h>
static long int80(long nr) {
    long got;
    __asm__ volatile("int $0x80" : "=a"(got) : "a"(nr), "b"(0), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
    return got;
}
static long x32(long nr) {
    long got;
    register long a10 __asm__("r10") = 0;
    __asm__ volatile("syscall" : "=a"(got) : "a"(nr | 0x40000000), "D"(0), "S"(0), "d"(0), "r"(a10) : "rcx", "r11", "memory");
    return got;
}
static void attempt(const char *what, long (*door)(long), long nr) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) _exit(door(nr) > 0 ? 42 : 7);
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 42) printf("BREACH %s was answered\n", what);
    else printf("HELD %s: status %#x\n", what, status);
}
int main(void) {
    attempt("getpid by int 0x80", int80, 20);
    attempt("getppid by int 0x80", int80, 64);
    attempt("getpid by x32", x32, SYS_getpid);
    attempt("gettid by x32", x32, SYS_gettid);
    return 0;
}
