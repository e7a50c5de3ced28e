# Counts primes, a stretch of a million numbers for each task of an array.
#
# Every task needs the primes up to 10,000 first. Where the job asks for a shared /tmp, the first
# task on a machine leaves them there for those that follow it; without it, each works them out.
import os
import pickle

TABLE = "/tmp/small_primes.pickle"
STRETCH = 1_000_000


def sieve(end):
    """All primes below `end`."""
    flags = bytearray([1]) * end
    flags[:2] = b"\0\0"
    for number in range(2, int(end**0.5) + 1):
        if flags[number]:
            flags[number * number :: number] = bytes(len(range(number * number, end, number)))
    return [number for number, flag in enumerate(flags) if flag]


def small_primes():
    """The primes up to 10,000, from an earlier task if one has left them."""
    try:
        with open(TABLE, "rb") as file:
            return pickle.load(file), True
    except FileNotFoundError:
        primes = sieve(10_000)
    with open(TABLE + ".new", "wb") as file:
        pickle.dump(primes, file)
    os.replace(TABLE + ".new", TABLE)
    return primes, False


task = int(os.environ["CAMPUSGRID_TASK_INDEX"])
start, end = task * STRETCH, (task + 1) * STRETCH
primes, were_there = small_primes()

flags = bytearray([1]) * STRETCH
for prime in primes:
    if prime * prime >= end:
        break
    first = max(prime * prime, -(-start // prime) * prime)
    flags[first - start :: prime] = bytes(len(range(first, end, prime)))
if task == 0:
    flags[:2] = b"\0\0"

print("The small primes", "were there already" if were_there else "were worked out")
print(f"Primes from {start} to {end}: {sum(flags)}")
