// Words that double thirty times.
#define A(x) x x
#define B(x) A(A(A(A(x))))
#define C(x) B(B(B(B(x))))
#define D(x) C(C(C(C(x))))
char *text = D("0123456789abcdef");
int main(void) { return 0; }
