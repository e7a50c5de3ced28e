# Stops itself and all its relatives; who is stopped does not hear SIGTERM.
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(100)
os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(100)
