# Arguments and environments at the kernel's limit and beyond; programs with absurd names.
for size, many in ((131071, 10), (131072, 2), (1000, 6000), (100000, 70)):
    pid = os.fork()
    if pid == 0:
        try: os.execve("/usr/bin/true", ["true"], {f"V{n}": "x" * size for n in range(many)})
        except OSError as error: print("execve:", error.strerror, flush=True)
        os._exit(3)
    print(size, many, os.waitpid(pid, 0)[1])
call(157, 15, b"\x1b[2J\n) R 1 1")  # A name that breaks whoever parses /proc/PID/stat carelessly.
if os.fork() == 0:
    for _ in range(20): time.sleep(0.05)
    os._exit(0)
held("the worker must still be there")
