// One line of source, gigabytes of program.
__asm__(".data\n.fill 3000000000, 1, 7\n");
int main(void) { return 0; }
