# Leaves a daemon that keeps both streams open for a minute.
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(1, 32):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        for _ in range(600): os.write(1, b"x"); time.sleep(0.1)
    os._exit(0)
os.wait()
held("gone")
