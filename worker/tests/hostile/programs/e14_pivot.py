# Mounts, roots and bind tricks by old calls and new ones.
def mounting(what, *args):
    ctypes.set_errno(0)
    got = libc.mount(*args)
    (breach if got == 0 else held)(f"{what}: {errno.errorcode.get(ctypes.get_errno())}")
os.makedirs("/tmp/new/old", exist_ok=True)
for what, flags in (("bind", 4096), ("recursive bind", 4096 | 16384), ("move", 8192), ("private", 1 << 18), ("shared", 1 << 20)):
    mounting(what, b"/usr", b"/tmp/new", None, ctypes.c_ulong(flags), None)
for target in (b"/", b"/usr", b"/proc", b"/dev", b"/etc/passwd", b"/job"):
    mounting(f"remount {target} for writing", None, target, None, ctypes.c_ulong(32 | 4096), None)
    mounting(f"remount {target} with setuid and devices", None, target, None, ctypes.c_ulong(32), None)
for kind in (b"tmpfs", b"proc", b"sysfs", b"cgroup", b"cgroup2", b"devpts", b"mqueue", b"overlay", b"fuse", b"debugfs", b"securityfs", b"binfmt_misc", b"devtmpfs", b"9p", b"nfs"):
    mounting(f"new {kind.decode()}", b"none", b"/tmp/new", kind, ctypes.c_ulong(0), None)
mounting("cgroup with a release agent", b"none", b"/tmp/new", b"cgroup", ctypes.c_ulong(0), b"none,name=x,release_agent=/job/x")
for target in (b"/job", b"/tmp", b"/usr", b"/proc", b"/dev/shm", b"/"):
    for flags in (0, 2, 8):
        (breach if libc.umount2(target, flags) == 0 else held)(f"umount2 {target} {flags}")
refused("pivot_root", 155, b"/tmp/new", b"/tmp/new/old")
fails("chroot", lambda: os.chroot("/tmp/new"))
root = os.open("/", os.O_RDONLY)
os.chdir("/tmp/new"); os.fchdir(root)
for _ in range(64): os.chdir("..")
(held if os.path.samefile(".", "/") else breach)("climbing ends at our own root")
refused("fsopen", 430, b"tmpfs", 0)
refused("move_mount", 429, -100, b"/usr", -100, b"/tmp/new", 0)
refused("open_tree(CLONE)", 428, -100, b"/usr", 1)
refused("mount_setattr", 442, -100, b"/usr", 0, ctypes.create_string_buffer(32), 32)
refused("open_tree_attr", 467, -100, b"/usr", 1, ctypes.create_string_buffer(32), 32)
