# What the three open descriptors are: a null device and two pipes, and nothing behind them.
import stat
for fd in (0, 1, 2):
    mode = os.fstat(fd).st_mode
    (breach if stat.S_ISSOCK(mode) else held)(f"{fd} is {os.readlink(f'/proc/self/fd/{fd}').split(':')[0]}")
(held if os.read(0, 10) == b"" else breach)("nothing comes in")
(held if os.fstat(1).st_ino != os.fstat(2).st_ino else breach)("two streams are two pipes")
others = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
(held if others[:3] == [0, 1, 2] and len(others) <= 4 else breach)(f"descriptors {others}")
fails("the pipe of init", lambda: os.open("/proc/1/fd/1", os.O_WRONLY))
(held if os.getppid() in (0, 1) else breach)(f"parent {os.getppid()}")
