# Entries of directories instead of bytes: hard links, empty files, long links, negative lookups.
made = 0
try:
    open(JOB + "/one", "w").close()
    while made < 200000: os.link(JOB + "/one", f"{JOB}/l{made}"); made += 1
except OSError as error: print("links:", made, error.strerror)
links = made
for number in range(60000):
    try: os.stat(f"{JOB}/{number:0200}")
    except OSError: pass
(held if links < 200000 else breach)(f"{links} links")
