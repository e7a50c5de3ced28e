# Pages out of the machine's pool of huge ones, which no memory limit counts.
libc.mmap.restype = ctypes.c_long
taken = 0
for size, bits in ((2 << 20, 0x40000 | 21 << 26), (1 << 30, 0x40000 | 30 << 26)):
    while taken < 64:
        at = libc.mmap(None, ctypes.c_size_t(size), 3, 0x22 | bits, -1, 0)
        if at == -1: break
        taken += 1
    fd = libc.memfd_create(b"huge", 4 | bits & 0x3F << 26)
    if fd >= 0 and libc.ftruncate(fd, ctypes.c_long(size)) == 0 and libc.mmap(None, ctypes.c_size_t(size), 3, 1, fd, 0) != -1: taken += 1
(held if taken == 0 else breach)(f"{taken} huge pages")
