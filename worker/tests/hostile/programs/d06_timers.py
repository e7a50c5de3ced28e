# Timers and queued signals, which come out of a pool of the uid.
signal.pthread_sigmask(signal.SIG_BLOCK, range(34, 65))
timers = 0
spec = ctypes.create_string_buffer(struct.pack("QiiQ", 0, 34, 0, 0) + bytes(48))
out = ctypes.c_int(0)
while timers < 20000 and call(222, 1, spec, ctypes.byref(out))[0] == 0: timers += 1
queued = 0
info = ctypes.create_string_buffer(struct.pack("iii", 35, 0, -1) + bytes(116))
while queued < 20000 and call(129, os.getpid(), 35, info)[0] == 0: queued += 1
(held if timers + queued < 5000 else breach)(f"{timers} timers, {queued} queued signals")
