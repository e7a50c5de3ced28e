# Every kind of descriptor, to the last, in as many processes as there may be.
def fill():
    kinds = [lambda: os.memfd_create("x"), lambda: os.eventfd(0), lambda: call(291, 0)[0],
             lambda: call(283, 1, 0)[0], lambda: call(294, 0)[0], lambda: socket.socket().detach(), lambda: os.open("/dev/null", 0)]
    tried = opened = refused = 0
    while refused < len(kinds) and tried < 5000:
        try: got = kinds[tried % len(kinds)]()
        except OSError: got = -1
        tried += 1
        if got < 0: refused += 1
        else: refused = 0; opened += 1
    return opened
children = []
gate = os.pipe()
results = os.pipe()
try:
    while len(children) < 400:
        pid = os.fork()
        if pid == 0:
            count = fill(); os.write(results[1], struct.pack("I", count)); os.read(gate[0], 1); os._exit(0)
        children.append(pid)
except OSError as error: print("children:", len(children), error)
counts = [struct.unpack("I", os.read(results[0], 4))[0] for _ in children]
os.write(gate[1], b"x" * len(children))
(held if max(counts) <= 1100 and len(children) < 70 else breach)(f"{len(children)} processes of at most {max(counts)} descriptors")
