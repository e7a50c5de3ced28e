# Outputs with every bit set that gives rights: set-user-id, set-group-id, sticky, executable, attributes.
import shutil
os.chdir(OUT)
for name, mode in (("suid", 0o4755), ("sgid", 0o2755), ("all", 0o7777)):
    shutil.copy("/usr/bin/true", name); os.chmod(name, mode)
try: os.setxattr("all", "user.campusgrid", b"x")
except OSError: pass
os.utime("all", (2**33, -1)); open("ok.txt", "w").write("ok")
