# A child is killed for its memory; the parent does not mind and ends well.
pid = os.fork()
if pid == 0:
    eaten = []
    while True: eaten.append(bytearray(10 << 20))
os.waitpid(pid, 0)
print("fine")
