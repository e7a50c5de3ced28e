# Bytes that nobody reads, in the buffers of connections and datagrams to ourselves.
LIMIT = (256 + 64) << 20
chunk = b"x" * (1 << 20)
def grow(kind, address):
    s = socket.socket(socket.AF_INET, kind)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF): s.setsockopt(socket.SOL_SOCKET, option, 1 << 30)
    s.bind(address); return s
def stream():
    gate = grow(socket.SOCK_STREAM, ("127.0.0.1", 0)); gate.listen(500)
    kept, total = [], 0
    try:
        while total <= LIMIT and len(kept) < 960:
            out = grow(socket.SOCK_STREAM, ("127.0.0.1", 0))
            out.settimeout(1); out.connect(gate.getsockname()); kept += [out, gate.accept()[0]]
            out.setblocking(False)
            try:
                while total <= LIMIT: total += out.send(chunk)
            except BlockingIOError: pass
    except OSError as error: print("tcp:", error, flush=True)
    (held if total <= LIMIT else breach)(f"{total >> 20} MiB in {len(kept) // 2} connections")
def datagrams():
    out = grow(socket.SOCK_DGRAM, ("127.0.0.1", 0)); out.setblocking(False)
    kept, total = [], 0
    try:
        while total <= LIMIT and len(kept) < 960:
            inbox = grow(socket.SOCK_DGRAM, ("127.0.0.1", 0)); kept.append(inbox)
            for _ in range(64): total += out.sendto(chunk[:60000], inbox.getsockname())
    except OSError as error: print("udp:", error, flush=True)
    waiting = 0
    for inbox in kept:
        inbox.setblocking(False)
        try:
            while True: waiting += len(inbox.recv(65536))
        except OSError: pass
    (held if waiting <= LIMIT else breach)(f"{waiting >> 20} MiB in {len(kept)} inboxes")
for way in (stream, datagrams):
    pid = os.fork()
    if pid == 0: way(); os._exit(0)
    os.waitpid(pid, 0)
