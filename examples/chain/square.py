#CG --ram 64M --disk 16M --time 1m --retries 2 --backoff 5s
"""Squares the number that it is given; tried again, should it fail."""

import sys

number = int(sys.argv[1])
print(number, "squared is", number * number)
