# Put before each of our own Python programs: raw system calls, and two ways to say how one went.
import ctypes, errno, os, signal, socket, struct, sys, time
JOB = os.environ.get("JOB", "/job")
OUT = os.environ.get("OUTPUT_DIR", JOB + "/outputs")
libc = ctypes.CDLL(None, use_errno=True)
def held(what): print("HELD", what, flush=True)
def breach(what): print("BREACH", what, flush=True)
def call(number, *args):
    args = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    ctypes.set_errno(0)
    got = libc.syscall(ctypes.c_long(number), *args)
    return got, ctypes.get_errno()
def refused(what, number, *args):
    got, error = call(number, *args)
    if got < 0: held(f"{what}: {errno.errorcode.get(error, error)}")
    else: breach(f"{what} returned {got}")
def fails(what, action):
    try: got = action()
    except (OSError, ValueError) as error: held(f"{what}: {error}")
    else: breach(f"{what} worked: {str(got)[:60]!r}")
