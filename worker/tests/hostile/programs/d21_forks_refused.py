# Forks until it may not, and ends as programs do that did not reckon with it.
while True:
    if os.fork() == 0: time.sleep(100); os._exit(0)
