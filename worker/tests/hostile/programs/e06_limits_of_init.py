# Breaks its own init by whatever it may still do to it: that must not look like the machine's fault.
def setlimit(pid, what, soft, hard):
    return call(302, pid, what, ctypes.create_string_buffer(struct.pack("QQ", soft, hard)), 0)
for pid in {1, os.getppid()}:
    for what, name in ((0, "CPU"), (6, "NPROC"), (7, "NOFILE"), (1, "FSIZE"), (9, "AS"), (2, "DATA"), (3, "STACK")):
        got, error = setlimit(pid, what, 0, 0)
        print(f"prlimit({pid}, {name}, 0):", got, errno.errorcode.get(error))
    for what, action in (
        ("nice", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19)),
        ("affinity", lambda: os.sched_setaffinity(pid, {0})),
        ("idle class", lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))),
        ("oom_score_adj", lambda: open(f"/proc/{pid}/oom_score_adj", "w").write("1000")),
        ("comm", lambda: open(f"/proc/{pid}/comm", "w").write("kthreadd")),
        ("timerslack", lambda: open(f"/proc/{pid}/timerslack_ns", "w").write("1000000000")),
        ("coredump_filter", lambda: open(f"/proc/{pid}/coredump_filter", "w").write("0x7f")),
    ):
        try: action(); print(f"{what} of {pid} was set")
        except OSError as error: print(f"{what} of {pid}: {error.strerror}")
held("the outcome is the judge")
deadline = time.monotonic() + 1
while time.monotonic() < deadline: pass
os._exit(9)
