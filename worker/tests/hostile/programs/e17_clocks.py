# Clocks that are the machine's, and timers that wake it from sleep.
spec = ctypes.create_string_buffer(struct.pack("qq", 0, 0))
for name, clock in (("realtime", 0), ("monotonic", 1), ("boottime", 7), ("tai", 11)):
    refused(f"clock_settime({name})", 227, clock, spec)
refused("settimeofday", 164, spec, 0)
timex = ctypes.create_string_buffer(struct.pack("I", 0x4001) + bytes(252))
refused("adjtimex", 159, timex)
refused("clock_adjtime", 305, 0, timex)
for name, clock in (("realtime alarm", 8), ("boottime alarm", 9)):
    refused(f"timerfd({name})", 283, clock, 0)
    timer = ctypes.c_int(0)
    refused(f"timer_create({name})", 222, clock, 0, ctypes.byref(timer))
refused("setns to the time namespace", 308, os.open("/proc/self/ns/time_for_children", os.O_RDONLY), 0x80) if os.path.exists("/proc/self/ns/time_for_children") else held("no time namespace")
fails("write to wakealarm", lambda: open("/sys/class/rtc/rtc0/wakealarm", "w"))
