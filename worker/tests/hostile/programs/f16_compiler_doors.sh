# What the compiler and its friends would run, load or read for somebody.
cd "${JOB:-/job}" || exit 1
echo 'int main(){return 0;}' > a.c
for c in "gcc @/etc/shadow" "gcc -include /etc/shadow a.c" "cpp /etc/shadow" "ld -T /etc/shadow" "as /etc/shadow" "gcc -specs=/etc/shadow a.c" \
  "gcc -x c /tmp/campusgrid-canary/worker-token" "gcc -o /usr/bin/pwn a.c" "gcc -B/root/ a.c -o /root/x" "gcc -fplugin=/root/x.so a.c"; do
  out=$($c 2>&1); r=$?
  case "$out" in *root:*|*SEC*RET*) echo "BREACH $c told a secret";; *) [ $r = 0 ] && echo "BREACH $c worked" || echo "HELD $c";; esac
done
