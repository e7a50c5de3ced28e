# One file beyond all that it may hold.
head -c 300000000 /dev/zero > "$OUTPUT_DIR/big"
