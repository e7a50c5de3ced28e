# Among the outputs everything that is no file: pipes, sockets, links of all kinds, hard links, devices.
os.chdir(OUT)
os.mkfifo("pipe")
s = socket.socket(socket.AF_UNIX); s.bind("socket"); s.listen()
for number, target in enumerate(("nowhere", "/etc/shadow", "../../../../etc/passwd", ".", "..", "/", "/proc/self/environ", "/dev/zero",
                                 "/proc/self/fd/0", "x" * 4000, "/tmp/campusgrid-canary/worker-token", "link0")):
    os.symlink(target, f"link{number}")
open("twice", "w").write("x"); os.link("twice", "twice-too"); os.link("twice", JOB + "/thrice")
os.makedirs("a/b"); os.symlink("..", "a/b/loop"); open("a/b/deep.txt", "w").write("deep")
try: os.mknod("device", 0o20666, os.makedev(1, 5)); breach("a device among the outputs")
except OSError: held("no device")
try: os.mknod("whiteout", 0o20666, 0)
except OSError: pass
open("ok.txt", "w").write("ok")
