# A descriptor of init, and what can be got through it.
for pid in {1, os.getppid()}:
    fd, error = call(434, pid, 0)
    if fd < 0: held(f"pidfd_open({pid}): {errno.errorcode.get(error)}"); continue
    for other in range(8): refused(f"pidfd_getfd({pid}, {other})", 438, fd, other, 0)
    vector = ctypes.create_string_buffer(struct.pack("QQ", 0x400000, 4096))
    for advice in (8, 20, 21): refused(f"process_madvise({pid}, {advice})", 440, fd, vector, 1, advice, 0)
    refused(f"process_mrelease({pid})", 448, fd, 0)
    for flag in (0x10000000, 0x20000, 0x40000000, 0x20000000): refused(f"setns({pid}, {flag:#x})", 308, fd, flag)
