# As much as an end can have to say: a thousand of the longest names, and as many left behind, and logs.
os.chdir(OUT)
for part in ("a", "b"): os.makedirs(f"{part * 100}/{part * 50}")
for number in range(700):
    for part in ("a", "b"): open(f"{part * 100}/{part * 50}/{number:04}{'c' * 98}", "w").write("same")
for number in range(200): os.mkfifo(f"{number}" + "\u202e\x01" * 60)
data = b"\xff" * 65536
for fd in (1, 2):
    at = 0
    while at < len(data): at += os.write(fd, data[at:])
