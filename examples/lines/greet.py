#CG --lines words.txt --ram 64M --disk 16M --time 1m
"""One task for each line of words.txt: campusgrid submit greet.py --wait -- '{line}'"""

import os
import sys

name = os.environ["CAMPUSGRID_TASK_LINE"]
assert sys.argv[1:] in ([], [name])
print(f"Task {os.environ['CAMPUSGRID_TASK_INDEX']} greets {name}")
