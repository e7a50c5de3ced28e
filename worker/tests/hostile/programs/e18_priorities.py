# More of the processor than was granted: classes, priorities, clamps, cores, autogroups.
for name, policy in (("FIFO", 1), ("RR", 2)):
    fails(f"SCHED_{name}", lambda: os.sched_setscheduler(0, policy, os.sched_param(1)))
deadline = ctypes.create_string_buffer(struct.pack("IIQiIQQQ", 48, 6, 0, 0, 0, 10**7, 10**8, 10**8))
refused("SCHED_DEADLINE", 314, 0, deadline, 0)
before = os.getpriority(os.PRIO_PROCESS, 0)
for what, who in ((os.PRIO_PROCESS, 0), (os.PRIO_PGRP, 0), (os.PRIO_USER, 0), (os.PRIO_PROCESS, 1)):
    try: os.setpriority(what, who, before - 10); breach(f"nice {before - 10}")
    except OSError as error: held(f"nice {before - 10}: {error.strerror}")
def autogroup():
    with open("/proc/self/autogroup", "w") as file: file.write("-20")
fails("autogroup", autogroup)
refused("ioprio of the real-time class", 251, 1, 0, 1 << 13)
try: os.sched_setaffinity(0, range(os.cpu_count()))
except OSError as error: print("affinity:", error)
cores = os.sched_getaffinity(0)
(held if len(cores) == 1 else breach)(f"cores {sorted(cores)}")
refused("migrate_pages of init", 256, 1, 64, ctypes.byref(ctypes.c_ulong(1)), ctypes.byref(ctypes.c_ulong(1)))
refused("move_pages of init", 279, 1, 0, 0, 0, 0, 0)
refused("process_madvise of init", 440, 0, 0, 0, 0, 0)
