# Templates that double with every level, at the compiler's expense.
cd "${JOB:-/job}" || exit 1
cat > t.cc <<'X'
template <long N, bool = (N < (1L << 30))> struct F { static const long v = F<2 * N>::v + F<2 * N + 1>::v; };
template <long N> struct F<N, false> { static const long v = 1; };
int main() { return F<1>::v; }
X
g++ -ftemplate-depth=100000 -c t.cc
echo rc=$?
