# The directory of outputs is another thing now: a link to the machine's own files.
rmdir "$OUTPUT_DIR" && ln -s /etc "$OUTPUT_DIR"; echo HELD swapped
