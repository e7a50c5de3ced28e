# Extended attributes instead of content: bytes that no size of a file shows.
total = files = 0
try:
    while total < 512 << 20:
        with open(f"{JOB}/{files}", "w") as file:
            for number in range(64): os.setxattr(file.fileno(), f"user.{number}", b"x" * 60000); total += 60000
        files += 1
except OSError as error: print(error)
(held if total < 320 << 20 else breach)(f"{total >> 20} MiB in attributes of {files} files")
