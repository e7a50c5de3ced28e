# Plays with the pipe that its words travel through: size, flags, owner, and reading them back.
import fcntl
for fd in (1, 2):
    for what, args in (("size", (1031, 1 << 20)), ("flags", (4, os.O_NONBLOCK | 0o20000)), ("owner", (8, os.getpid())), ("signal", (10, 18)), ("seal", (1033, 15))):
        try: fcntl.fcntl(fd, *args)
        except OSError as error: print(what, error, flush=True)
    try:
        back = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK)
        for _ in range(1000):
            try: os.write(fd, b"?" * 64); os.read(back, 65536)
            except OSError: pass
    except OSError as error: print("reading back:", error, flush=True)
    try:
        while True: os.write(fd, b"!" * 4096)
    except OSError: pass
    fcntl.fcntl(fd, 4, 0)
os._exit(3)
