# The directory of outputs is a pipe that nobody writes to.
os.rmdir(OUT); os.mkfifo(OUT); held("swapped")
