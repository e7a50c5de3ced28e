# Small programs handed to the kernel to run: its compiler's memory is the machine's.
code = b"".join(struct.pack("HBBI", 0x04, 0, 0, n) for n in range(4095)) + struct.pack("HBBI", 6, 0, 0, 0xFFFF)
place = ctypes.create_string_buffer(code)
program = struct.pack("HxxxxxxQ", 4096, ctypes.addressof(place))
for name, option in (("ATTACH_FILTER", 26), ("ATTACH_BPF", 50), ("ATTACH_REUSEPORT_CBPF", 51), ("ATTACH_REUSEPORT_EBPF", 52)):
    taken = 0
    for family, kind in ((socket.AF_UNIX, socket.SOCK_DGRAM), (socket.AF_INET, socket.SOCK_DGRAM), (socket.AF_INET, socket.SOCK_STREAM)):
        try:
            with socket.socket(family, kind) as s: s.setsockopt(socket.SOL_SOCKET, option, program if option in (26, 51) else struct.pack("i", 3)); taken += 1
        except OSError: pass
    (held if taken == 0 else breach)(f"SO_{name}: {taken} taken")
for level, option in ((0, 64), (41, 64), (6, 31), (255, 64)):
    def replace():
        with socket.socket() as s: s.setsockopt(level, option, b"tls" + bytes(200))
    fails(f"option {option} of level {level}", replace)
