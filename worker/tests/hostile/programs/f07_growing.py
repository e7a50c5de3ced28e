# A daemon goes on writing, renaming and linking while the outputs are collected.
open(OUT + "/ok.txt", "w").write("ok")
ready = os.pipe()
for _ in range(4):
    if os.fork() == 0:
        os.setsid()
        for number in range(1, 32):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        os.close(1); os.close(2)
        os.write(ready[1], b"x")
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                with open(OUT + "/grows", "ab") as file: file.write(b"y" * 4096)
                os.rename(OUT + "/ok.txt", OUT + "/moved"); os.symlink("/etc/shadow", OUT + "/ok.txt")
                os.unlink(OUT + "/ok.txt"); os.rename(OUT + "/moved", OUT + "/ok.txt")
            except OSError: pass
        os._exit(0)
for _ in range(4): os.read(ready[0], 1)
held("left")
