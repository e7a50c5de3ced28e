# Closes everything it has, then ends with code 5.
os.closerange(0, 4096)
os._exit(5)
