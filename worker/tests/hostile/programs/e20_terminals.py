# Terminals and the console: none to be had, none to type into, none to steal.
import fcntl
for fd in (0, 1, 2):
    (breach if os.isatty(fd) else held)(f"descriptor {fd} is no terminal")
    for name, code in (("TIOCSTI", 0x5412), ("TIOCLINUX", 0x541C), ("TIOCCONS", 0x541D), ("TIOCSCTTY", 0x540E)):
        for high in (0, 1 << 32, 1 << 63):
            ctypes.set_errno(0)
            got = libc.ioctl(fd, ctypes.c_ulong(code | high), b"x")
            (breach if got == 0 else held)(f"{name} on {fd}: {errno.errorcode.get(ctypes.get_errno())}")
fails("openpty", lambda: os.openpty())
fails("/dev/pts/ptmx", lambda: os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY))
for number in range(8): fails(f"/dev/pts/{number}", lambda: os.open(f"/dev/pts/{number}", os.O_RDWR | os.O_NOCTTY))
(held if os.getsid(0) in (os.getpid(), os.getppid(), 1, 2) else breach)(f"session {os.getsid(0)}")
