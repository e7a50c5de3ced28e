# What PID 1 of the sandbox shows of itself, and whether its program can be changed on the host.
for name in ("environ", "mem", "maps", "auxv", "stack", "syscall", "personality", "pagemap", "smaps", "timers"):
    try: got = open(f"/proc/1/{name}", "rb").read(4096)
    except OSError as error: held(f"/proc/1/{name}: {error.strerror}")
    else: (held if not got else breach)(f"/proc/1/{name} gives {len(got)} bytes")
for name in ("root", "cwd"):
    try: names = os.listdir(f"/proc/1/{name}")
    except OSError as error: held(f"/proc/1/{name}: {error.strerror}"); continue
    alien = {"home", "root", "boot", "var", "srv", "mnt"} & set(names) - set(os.listdir("/"))
    (breach if alien else held)(f"/proc/1/{name} has {sorted(names)[:12]}")
for pid in {1, os.getppid()}:
    for mode in (0o4755, 0o666): fails(f"chmod of /proc/{pid}/exe", lambda: os.chmod(f"/proc/{pid}/exe", mode))
    fails(f"write to /proc/{pid}/exe", lambda: os.open(f"/proc/{pid}/exe", os.O_WRONLY))
    fails(f"write to /proc/{pid}/mem", lambda: os.open(f"/proc/{pid}/mem", os.O_RDWR))
    try: fds = os.listdir(f"/proc/{pid}/fd")
    except OSError as error: held(f"/proc/{pid}/fd: {error.strerror}"); continue
    for fd in fds:
        fails(f"/proc/{pid}/fd/{fd}", lambda: os.open(f"/proc/{pid}/fd/{fd}", os.O_RDWR | os.O_NONBLOCK))
for exe in ("/proc/self/exe", "/usr/bin/python3", "/usr/bin/env"):
    fails(f"chmod of {exe}", lambda: os.chmod(exe, 0o4755))
    fails(f"append to {exe}", lambda: open(exe, "ab"))
