# Locks, leases, attributes and cached pages of files that all jobs share.
import fcntl
for path in ("/usr/bin/python3", "/usr/bin/env"):
    fails(f"append to {path}", lambda: os.open(path, os.O_WRONLY | os.O_APPEND))
    fails(f"truncate {path}", lambda: os.truncate(path, 0))
    fails(f"utime {path}", lambda: os.utime(path))
    fails(f"chmod {path}", lambda: os.chmod(path, 0o777))
    fails(f"rename {path}", lambda: os.rename(path, path + ".old"))
    fails(f"link {path}", lambda: os.link(path, "/tmp/hard"))
    fails(f"xattr {path}", lambda: os.setxattr(path, "user.x", b"x"))
    file = open(path, "rb")
    for lease in (fcntl.F_RDLCK, fcntl.F_WRLCK): fails(f"lease {lease} on {path}", lambda: fcntl.fcntl(file, 1024, lease))
    fails(f"freeze {path}", lambda: fcntl.ioctl(file, 0xC0045877, 0))
    fails(f"immutable {path}", lambda: fcntl.ioctl(file, 0x40086602, struct.pack("l", 0x10)))
refused("swapon", 167, b"/job/swap", 0)
