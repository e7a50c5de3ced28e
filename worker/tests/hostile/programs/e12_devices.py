# Device nodes: only those without which no program runs, and no new ones.
import stat
allowed = {"null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "shm", "pts", "ptmx", "core", "console", "mqueue"}
alien = sorted(set(os.listdir("/dev")) - allowed)
(breach if alien else held)(f"beyond the ordinary in /dev: {alien}")
for name in ("mem", "kmem", "port", "kmsg", "fuse", "kvm", "vda", "sda", "nvme0n1", "dm-0", "loop0", "loop-control", "net/tun",
             "vhost-net", "vhost-vsock", "vsock", "uinput", "input/event0", "rtc0", "hpet", "mapper/control", "cpu/0/msr",
             "btrfs-control", "autofs", "snapshot", "userfaultfd", "udmabuf", "dma_heap/system", "vcs", "tty0", "ttyS0",
             "ptmx", "pts/ptmx", "tty", "console"):
    fails(f"/dev/{name}", lambda: os.open(f"/dev/{name}", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
for directory in (JOB, "/tmp", "/dev/shm", "/dev"):
    for kind, major, minor in ((stat.S_IFCHR, 1, 1), (stat.S_IFCHR, 1, 11), (stat.S_IFBLK, 254, 0), (stat.S_IFCHR, 10, 229)):
        fails(f"mknod {major}:{minor} in {directory}", lambda: os.mknod(f"{directory}/node", kind | 0o666, os.makedev(major, minor)))
# Overlay's whiteout is a device of number 0:0 that anybody may make on some kernels.
try: os.mknod(JOB + "/whiteout", stat.S_IFCHR | 0o666, 0); print("a whiteout could be made")
except OSError as error: held(f"whiteout: {error.strerror}")
