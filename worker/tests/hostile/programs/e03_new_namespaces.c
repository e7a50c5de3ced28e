// Every way to a new namespace, one flag at a time and all together.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static void say(const char *how, unsigned long flag, long got) {
    if (got >= 0) printf("BREACH %s(%#lx) gave %ld\n", how, flag, got);
    else printf("HELD %s(%#lx): %s\n", how, flag, strerror(errno));
    fflush(stdout);
}
int main(void) {
    const unsigned long flags[] = {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC,
        CLONE_NEWUTS, CLONE_NEWCGROUP, 0x80, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET};
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        say("unshare", flags[i], syscall(SYS_unshare, flags[i]));
        if (flags[i] != 0x80) {
            long child = syscall(SYS_clone, flags[i] | SIGCHLD, 0, 0, 0, 0);
            if (child == 0) _exit(0);
            say("clone", flags[i], child);
        }
        // The upper half of the register must not hide a flag from a filter that looks at it.
        long child = syscall(SYS_clone, flags[i] | SIGCHLD | (1ul << 40), 0, 0, 0, 0);
        if (child == 0) _exit(0);
        if (flags[i] != 0x80) say("clone with high bits", flags[i], child);
        uint64_t args[11] = {flags[i], 0, 0, 0, SIGCHLD};
        child = syscall(435, args, sizeof args);
        if (child == 0) _exit(0);
        say("clone3", flags[i], child);
    }
    const char *names[] = {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"};
    const char *owners[] = {"self", "1"};
    for (unsigned o = 0; o < 2; o++)
        for (unsigned i = 0; i < 8; i++) {
            char path[64];
            snprintf(path, sizeof path, "/proc/%s/ns/%s", owners[o], names[i]);
            int fd = open(path, O_RDONLY);
            if (fd < 0) { printf("HELD %s: %s\n", path, strerror(errno)); continue; }
            say(path, i, syscall(SYS_setns, fd, 0));
            close(fd);
        }
    return 0;
}
