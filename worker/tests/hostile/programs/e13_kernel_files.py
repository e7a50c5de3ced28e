# Everything in /proc and /sys that can be written, and the parts of /proc that tell too much.
mine = f"/proc/{os.getpid()}/"
opened = []
for top in ("/proc/sys", "/proc/irq", "/proc/acpi", "/proc/bus", "/proc/fs", "/proc/driver", "/proc/scsi", "/proc/tty", "/sys"):
    for directory, _, names in os.walk(top):
        for name in names:
            path = f"{directory}/{name}"
            try: os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK)); opened.append(path)
            except OSError: pass
(breach if opened else held)(f"can be written: {opened[:5]}")
for path in ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/panic_on_oom",
             "/proc/sys/fs/binfmt_misc/register", "/proc/sys/kernel/ns_last_pid", "/proc/sys/net/ipv4/ping_group_range",
             "/proc/mtrr", "/proc/self/loginuid", "/proc/self/attr/current", "/proc/self/uid_map", "/proc/self/gid_map",
             "/proc/self/setgroups", "/proc/self/projid_map", "/proc/timer_stats", "/sys/kernel/uevent_helper"):
    if os.path.exists(path) and os.stat(path).st_rdev == os.makedev(1, 3): held(f"{path} is nothing"); continue
    def write():
        with open(path, "w") as file: file.write("0\n")
    fails(f"write to {path}", write)
for path in ("/proc/kcore", "/proc/kmsg", "/proc/kpagecount", "/proc/kpageflags", "/proc/vmallocinfo", "/proc/slabinfo",
             "/proc/iomem", "/proc/1/stack", "/proc/self/stack", "/sys/kernel/debug", "/sys/kernel/security", "/sys/firmware"):
    try: got = open(path, "rb").read(65536) if not os.path.isdir(path) else os.listdir(path)
    except OSError as error: held(f"{path}: {error.strerror}"); continue
    # Without the capability the kernel shows addresses as zeros, which tells nothing.
    told = any(set(part.split(b"-")[0]) - set(b"0 ") for part in got.split(b"\n") if b"-" in part) if path.endswith("iomem") else bool(got)
    (breach if told else held)(f"{path} gives {len(got)}")
