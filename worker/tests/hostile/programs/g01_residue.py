# Leaves a mark in every place that might outlive a task, after looking for the marks of an earlier one.
import glob
MARK = "cgresidue"
found = []
homes = ["/tmp", "/dev/shm", "/var/tmp", "/run", JOB, OUT, "/usr/local", "/dev", "/etc", "/"]
def note(what): found.append(what)
for home in homes:
    if os.path.exists(f"{home}/{MARK}"): note(f"{home}/{MARK}")
for path in glob.glob(JOB + "/.*") + glob.glob("/tmp/*") + glob.glob("/tmp/.*") + glob.glob("/dev/shm/*") + glob.glob(OUT + "/*"):
    # Every task has an empty place for what it wants to go on from.
    if path != JOB + "/.checkpoint" or os.listdir(path): note(path)
for kind in ("shm", "sem", "msg"):
    if len(open(f"/proc/sysvipc/{kind}").read().splitlines()) > 1: note(f"System V {kind}")
try: rt = ctypes.CDLL("librt.so.1", use_errno=True)
except OSError: rt = libc
if rt.mq_open(b"/" + MARK.encode(), 0) >= 0: note("message queue")
for pid in (p for p in os.listdir("/proc") if p.isdigit()):
    try:
        if MARK.encode() in open(f"/proc/{pid}/cmdline", "rb").read(): note(f"process {pid}")
        if open(f"/proc/{pid}/comm").read().startswith(MARK): note(f"name of process {pid}")
    except OSError: pass
if MARK in open("/proc/net/unix").read(): note("abstract socket")
for family, name in ((socket.AF_UNIX, "\0" + MARK), (socket.AF_INET, ("127.0.0.1", 18777)), (socket.AF_INET6, ("::1", 18777))):
    with socket.socket(family) as s:
        s.settimeout(0.3)
        try: s.connect(name); note(f"listener {name!r}")
        except OSError: pass
if len(open("/proc/net/tcp").read().splitlines()) > 1 or len(open("/proc/net/udp").read().splitlines()) > 1: note("sockets of the network name space")
if call(250, 10, -3, b"user", MARK.encode(), 0)[0] >= 0: note("key in the session keyring")
if os.uname().nodename != "job": note("hostname")
if os.umask(0o022) not in (0o022, 0o077): note("umask")
if os.getcwd() != JOB and not os.environ.get("JOB"): note("working directory")
if MARK in os.environ or MARK in str(os.environb): note("environment")
if len(os.listdir("/proc/self/fd")) > 5: note("descriptors")
# As every task begins, and none can leave it.
if os.getpriority(os.PRIO_PROCESS, 1) not in (0, 19): note("niceness of init")
if signal.pthread_sigmask(signal.SIG_BLOCK, []): note("blocked signals")
import resource
if resource.getrlimit(resource.RLIMIT_NOFILE)[1] == 77: note("resource limits")
if int(open("/proc/self/oom_score_adj").read()) == 999: note("oom_score_adj")
print("room", os.readlink("/proc/self/ns/uts"))
(breach if found else held)(f"left by an earlier task: {found}")

for home in homes:
    try: open(f"{home}/{MARK}", "w").write("x"); os.makedirs(f"{home}/.{MARK}/deep", exist_ok=True)
    except OSError: pass
for key in (0, 0x5EC2): libc.shmget(key, 1 << 20, 0o1666); libc.semget(key, 1, 0o1666); libc.msgget(key, 0o1666)
rt.mq_open(b"/" + MARK.encode(), 0o102, 0o666, None)
call(248, b"user", MARK.encode(), b"x", 1, -3)
call(170, b"changed", 7)
try: open("/proc/self/oom_score_adj", "w").write("999")
except OSError: pass
for path in (".profile", ".bashrc", ".local/lib/python3.11/site-packages/usercustomize.py", ".config/x"):
    try: os.makedirs(os.path.dirname(f"{JOB}/{path}"), exist_ok=True); open(f"{JOB}/{path}", "w").write("print('BREACH')")
    except OSError: pass
for pid in (1, os.getppid()):
    try: os.setpriority(os.PRIO_PROCESS, pid, 19)
    except OSError: pass
    call(302, pid, 7, ctypes.create_string_buffer(struct.pack("QQ", 77, 77)), 0)
    try: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    except OSError: pass
ready = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        libc.prctl(15, MARK.encode())
        keep = []
        for family, name in ((socket.AF_UNIX, "\0" + MARK), (socket.AF_INET, ("127.0.0.1", 18777)), (socket.AF_INET6, ("::1", 18777))):
            try: s = socket.socket(family); s.bind(name); s.listen(); keep.append(s)
            except OSError: pass
        os.write(ready[1], b"x")
        end = time.monotonic() + 60
        while time.monotonic() < end: time.sleep(1)
    os._exit(0)
os.read(ready[0], 1)
