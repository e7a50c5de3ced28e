# Every address family and kind: only those of an ordinary program may be had.
plain = {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK}
for family in range(1, 50):
    opened = []
    for kind in (1, 2, 3, 4, 5, 10):
        for protocol in (0, 1, 3, 58, 255) if kind in (2, 3) else (0,):
            try: socket.socket(family, kind, protocol).close(); opened.append((kind, protocol))
            except OSError: pass
    raw = [pair for pair in opened if pair[0] in (3, 10)]
    if family not in plain and opened: breach(f"family {family} opens {opened}")
    elif family in (socket.AF_INET, socket.AF_INET6) and raw: breach(f"family {family} opens raw {raw}")
    else: held(f"family {family}: {opened}")
for protocol, groups in ((9, 1), (15, 1), (15, 2), (5, 1), (12, 1), (16, 1)):
    try:
        link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        link.bind((0, groups)); link.settimeout(0.2)
        try: breach(f"netlink {protocol} group {groups} told {link.recv(4096)[:60]!r}")
        except OSError: held(f"netlink {protocol} group {groups} is silent")
    except OSError as error: held(f"netlink {protocol} group {groups}: {error.strerror}")
try:
    route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    name = struct.pack("HH", 12, 3) + b"cgdummy\0"
    kind = struct.pack("HH", 20, 18) + struct.pack("HH", 10, 1) + b"dummy\0\0\0" + bytes(4)
    body = struct.pack("BxHiII", 0, 0, 0, 1, 1) + name + kind
    route.send(struct.pack("IHHII", 16 + len(body), 16, 0x605, 1, 0) + body)
    code = struct.unpack("i", route.recv(4096)[16:20])[0]
    (held if code < 0 else breach)(f"a new network interface: {code}")
    body = struct.pack("BxHiII", 0, 0, 1, 1, 1)
    route.send(struct.pack("IHHII", 16 + len(body), 16, 5, 2, 0) + body)
    code = struct.unpack("i", route.recv(4096)[16:20])[0]
    (held if code < 0 else breach)(f"loopback up: {code}")
except OSError as error: held(f"netlink route: {error.strerror}")
