# Watches what the machine is busy with: interrupts, disks, memory, which files others have read.
def text(path):
    try:
        with open(path) as file: return file.read()
    except OSError: return ""
before = text("/proc/stat"); time.sleep(0.5); after = text("/proc/stat")
(held if before == after else breach)("/proc/stat stands still")
told = [line for line in after.splitlines() if line.startswith(("intr ", "softirq ", "ctxt ")) and any(int(n) for n in line.split()[1:])]
(breach if told else held)(f"interrupts: {told[:2]}")
form = {line.split()[0] for line in after.splitlines()}
(held if {"cpu", "cpu0", "btime", "processes"} <= form else breach)("programs find their lines in it")
fails("write /proc/stat", lambda: open("/proc/stat", "w"))
for path in ("interrupts", "softirqs", "diskstats", "schedstat", "vmstat", "zoneinfo", "pressure/io", "locks", "key-users"):
    got = text(f"/proc/{path}")
    (breach if got else held)(f"/proc/{path} gives {len(got)}")
(held if not set(text("/proc/sys/kernel/random/boot_id")) - set("0-\n") else breach)("this start of the machine has no name")
fd = os.open("/usr/bin/env", os.O_RDONLY)
fails("preadv2(RWF_NOWAIT)", lambda: os.preadv(fd, [bytearray(4096)], 0, os.RWF_NOWAIT))
residency = ctypes.create_string_buffer(32)
refused("cachestat", 451, fd, struct.pack("QQ", 0, 0), residency, 0)
refused("ioctl(BTRFS_IOC_SYNC)", 16, fd, 0x9408, 0)
refused("move_pages(1)", 279, 1, 0, 0, 0, 0, 0)
refused("migrate_pages(1)", 256, 1, 0, 0, 0)
refused("vmsplice", 278, 1, 0, 0, 0)
refused("remap_file_pages", 216, 0, 0, 0, 0, 0)
