# Looks everywhere for the job that runs beside this one and says in each place that it is there.
def there(what, found): (breach if found else held)(f"{what}: {found}")
there("/tmp", [n for n in os.listdir("/tmp") if "victim" in n])
there("/dev/shm", [n for n in os.listdir("/dev/shm") if "victim" in n])
there("processes", [p for p in os.listdir("/proc") if p.isdigit() and b"cgvictim" in open(f"/proc/{p}/cmdline", "rb").read()])
for kind in ("shm", "sem", "msg"):
    there(f"/proc/sysvipc/{kind}", open(f"/proc/sysvipc/{kind}").read().splitlines()[1:])
there("shmget", libc.shmget(0x5EC, 4096, 0o600) >= 0)
there("semget", libc.semget(0x5EC, 1, 0o600) >= 0)
there("msgget", libc.msgget(0x5EC, 0o600) >= 0)
try: rt = ctypes.CDLL("librt.so.1", use_errno=True)
except OSError: rt = libc
there("mq_open", rt.mq_open(b"/cgvictim", 0) >= 0)
for name in ("\0cgvictim", "\0cgcanary", "/tmp/victim.sock", "/tmp/campusgrid-canary/host.sock"):
    def connect():
        with socket.socket(socket.AF_UNIX) as s: s.connect(name)
    fails(f"connect to {name!r}", connect)
def connect():
    with socket.socket() as s: s.settimeout(1); s.connect(("127.0.0.1", 18998))
fails("connect to its port", connect)
there("abstract sockets", [row for row in open("/proc/net/unix") if "@" in row])
with socket.socket(socket.AF_UNIX) as s:
    s.bind("\0cgcanary")  # The name is free here, since this name space is our own.
    held("took the name of the canary's socket")
there("open files of all", [row for row in open("/proc/locks")] if os.path.exists("/proc/locks") else [])
