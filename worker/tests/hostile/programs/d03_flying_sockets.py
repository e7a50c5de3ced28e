# Sockets sent into each other and closed: descriptors that no process holds.
import array
count = 0
try:
    carrier = socket.socketpair()
    while count < 20000:
        nest = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [carrier[0].fileno(), carrier[1].fileno()]))]
        nest[0].sendmsg([b"x" * 60000], rights)
        carrier[0].close(); carrier[1].close()
        carrier = nest; count += 1
    print("after", count)
except OSError as error: print("after", count, error)
(held if count < 20000 else breach)("a chain of sockets in flight ends")
