// Children that die at once and are never reaped, by a parent that waits in vfork for another.
#include <unistd.h>
int main(void) {
    for (int i = 0; i < 40; i++)
        if (fork() == 0) _exit(0);
    if (vfork() == 0) for (;;) pause();
    return 0;
}
