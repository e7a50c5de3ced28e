# Archives that grow without end, climb out of their directory, or overlap themselves.
import io, tarfile, zipfile, zlib
def nested():
    data = zlib.compress(b"\0" * (64 << 20), 9)
    whole = zlib.decompressobj(); fd = os.open(JOB + "/flat", os.O_CREAT | os.O_WRONLY)
    for _ in range(20): os.write(fd, zlib.decompress(data))
    return "1.2 GiB unpacked"
fails("a bomb", nested)
os.unlink(JOB + "/flat")
box = io.BytesIO()
with tarfile.open(fileobj=box, mode="w") as tar:
    for name in ("../../../../etc/cron.d/x", "/etc/cron.d/y", "../outside"):
        info = tarfile.TarInfo(name); info.size = 1; tar.addfile(info, io.BytesIO(b"x"))
    link = tarfile.TarInfo("door"); link.type = tarfile.SYMTYPE; link.linkname = "/"; tar.addfile(link)
    info = tarfile.TarInfo("door/usr/bin/z"); info.size = 1; tar.addfile(info, io.BytesIO(b"x"))
for member in ("../../../../etc/cron.d/x", "/etc/cron.d/y", "door/usr/bin/z"):
    def unpack():
        box.seek(0)
        with tarfile.open(fileobj=box) as tar:
            if member.startswith("door"): tar.extract("door", JOB)
            tar.extract(member, JOB)
        return member
    fails(f"unpack {member}", unpack)
(breach if os.path.exists("/etc/cron.d") else held)("no file beyond the job's directories")
