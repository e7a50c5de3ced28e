# Signals to everything; then an end with code 7, which must be told as such.
for number in range(1, 65):
    if number not in (32, 33):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass
for number in list(range(1, 32)) + [34, 64]:
    for pid in (1, os.getppid()):
        try: os.kill(pid, number)
        except OSError: pass
        call(234, pid, pid, number)  # tgkill
        info = ctypes.create_string_buffer(struct.pack("iii", number, 0, -60) + bytes(116))
        call(129, pid, number, info)  # rt_sigqueueinfo
    if number not in (9, 19):
        try: os.kill(-1, number)
        except OSError: pass
fd, _ = call(434, 1, 0)  # pidfd_open
if fd >= 0:
    for number in (9, 15, 19): call(424, fd, number, 0, 0)
for pid in range(2, 100000, 7):
    if pid != os.getpid():
        try: os.kill(pid, 9)
        except OSError: pass
held("still here")
os._exit(7)
