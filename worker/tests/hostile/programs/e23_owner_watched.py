# What the owner does meanwhile: programs that she starts, keys that she presses.
fd, error = call(294, 0o4000)  # inotify_init1
if fd < 0: held(f"inotify: {errno.errorcode.get(error)}")
else:
    for path in (b"/usr/bin/env", b"/usr/bin", b"/usr/lib", b"/etc"): call(254, fd, path, 0xFFF)
    told = b""
    end = time.monotonic() + 2
    while not told and time.monotonic() < end:
        try: told = os.read(fd, 4096)
        except BlockingIOError: time.sleep(0.02)
    (breach if told else held)(f"notices of others' files: {len(told)} bytes")
out = ctypes.create_string_buffer(64)
file = os.open("/usr/bin/env", os.O_RDONLY)
got, error = call(451, file, ctypes.create_string_buffer(struct.pack("QQ", 0, 1 << 20)), out, 0)  # cachestat
(held if got < 0 else breach)(f"cachestat of a shared file: {got} {errno.errorcode.get(error)}")
for path in ("/proc/interrupts", "/proc/softirqs", "/proc/timer_list", "/proc/sched_debug", "/proc/keys", "/proc/latency_stats", "/proc/schedstat"):
    try: text = open(path).read()
    except OSError as error: held(f"{path}: {error.strerror}"); continue
    (breach if text.strip() and path != "/proc/schedstat" else held)(f"{path} gives {len(text)} bytes")
