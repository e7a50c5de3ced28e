# Fills its scratch space with small parts until a write fails, and ends as the write did.
cd "$OUTPUT_DIR" || exit 1
n=0
while head -c 4194304 /dev/zero > part$n; do n=$((n + 1)); done
exit 1
