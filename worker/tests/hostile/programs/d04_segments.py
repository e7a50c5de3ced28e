# Shared memory, semaphores and message queues of System V: filled, never given back.
libc.shmat.restype = ctypes.c_long
made = {"sem": 0, "msg": 0, "shm": 0}
while made["sem"] < 40000 and libc.semget(0, 250, 0o1600) >= 0: made["sem"] += 1
text = ctypes.create_string_buffer(struct.pack("l", 1) + bytes(8000))
while made["msg"] < 40000:
    number = libc.msgget(0, 0o1600)
    if number < 0: break
    while libc.msgsnd(number, text, ctypes.c_size_t(8000), 0o4000) == 0: pass
    made["msg"] += 1
print(made, flush=True)
while made["shm"] < 10000:
    number = libc.shmget(0, 1 << 20, 0o1600)
    if number < 0: break
    place = libc.shmat(number, None, 0)
    if place == -1: break
    ctypes.memset(ctypes.c_void_p(place), 1, 1 << 20); made["shm"] += 1
print(made, flush=True)
breach("all of it fitted")
