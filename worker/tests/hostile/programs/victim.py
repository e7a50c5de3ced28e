# Not hostile: a job that others must not find. It waits until it is stopped and tells of every touch.
import threading
secret = "SEC" + "RET-neighbour"
os.environ["CAMPUSGRID_TOKEN"] = secret
if len(sys.argv) == 1: os.execv(sys.executable, [sys.executable, "-u", __file__, "cgvictim"])
open("/tmp/victim", "w").write(secret); open("/dev/shm/victim", "w").write(secret)
for key in (libc.shmget(0x5EC, 4096, 0o1666), libc.semget(0x5EC, 1, 0o1666), libc.msgget(0x5EC, 0o1666)): assert key >= 0
libc.mq_open(b"/cgvictim", 0o102, 0o666, None)
libc.prctl(0x59616D61, ctypes.c_ulong(-1 & (1 << 64) - 1))  # Anybody may trace us, if they see us.
listeners = [socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX), socket.socket()]
for listener, name in zip(listeners, ("\0cgvictim", "/tmp/victim.sock", ("127.0.0.1", 18998))):
    listener.bind(name); listener.listen()
def wait(listener):
    while True: print("BREACH the neighbour was connected to by", listener.accept()[1], flush=True)
for listener in listeners: threading.Thread(target=wait, args=(listener,), daemon=True).start()
def touched(number, frame): print("BREACH the neighbour got signal", number, flush=True)
for number in (1, 2, 3, 10, 12, 13, 14, 34): signal.signal(number, touched)
print("ready", flush=True)
while True: time.sleep(100)
