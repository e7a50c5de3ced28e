# A hundred gigabytes that take no room, and room that takes no file.
for where in (JOB, "/tmp", "/dev/shm"):
    def grow():
        with open(where + "/sparse", "wb") as file: file.truncate(100 << 30)
    fails(f"100 GiB by truncate in {where}", grow)
    def allocate():
        with open(where + "/solid", "wb") as file: os.posix_fallocate(file.fileno(), 0, 100 << 30)
    fails(f"100 GiB by fallocate in {where}", allocate)
fails("100 GiB memfd", lambda: os.ftruncate(os.memfd_create("m"), 100 << 30))
