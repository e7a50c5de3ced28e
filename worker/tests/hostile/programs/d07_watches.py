# Watches of files and of descriptors: pools of the uid that no cgroup counts.
fd = call(294, 0)[0]
watches = 0
os.makedirs(JOB + "/w", exist_ok=True)
for number in range(3000):
    try: os.mkdir(f"{JOB}/w/{number}")
    except OSError: break
    if call(254, fd, f"{JOB}/w/{number}".encode(), 0xFFF)[0] < 0: break
    watches += 1
for directory, _, names in os.walk("/usr"):
    for name in names:
        if watches >= 60000 or call(254, fd, f"{directory}/{name}".encode(), 0xFFF)[0] < 0: break
        watches += 1
    if watches >= 60000: break
print(watches, "watches")
held("the next job must not miss them")
