# One file that is larger than it may be, without a byte in it.
exec truncate -s 100G "$OUTPUT_DIR/large"
