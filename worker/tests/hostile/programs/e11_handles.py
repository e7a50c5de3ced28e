# Files by handle instead of by name, and notices of what others do with files.
handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
mount = ctypes.c_int(0)
for path in (b"/usr", b"/job", b"/", b"/proc"):
    refused(f"name_to_handle_at {path}", 303, -100, path, handle, ctypes.byref(mount), 0)
for inode in (2, 128, 256):
    made = ctypes.create_string_buffer(struct.pack("IiII", 8, 1, inode, 0) + bytes(64))
    for directory in (b"/usr", b"/job", b"/"):
        fd = os.open(directory, os.O_RDONLY)
        refused(f"open_by_handle_at inode {inode} in {directory}", 304, fd, made, 0)
        os.close(fd)
for flags in (0, 0x200, 0x600):
    refused(f"fanotify_init({flags:#x})", 300, flags, 0)
refused("fanotify_mark", 301, 0, 1, 0x20, -100, b"/usr")
refused("quotactl_fd", 443, 0, 0, 0, 0)
