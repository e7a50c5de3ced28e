#CG --name batch-csv --ram 64M --disk 16M --time 1m --out job_*.csv
"""One job of the batch: draws ten numbers and writes them to job_<n>.csv with their sum and mean."""

import csv
import os
import random

job = int(os.environ["CAMPUSGRID_TASK_INDEX"])
numbers = [random.randint(1, 100) for _ in range(10)]
with open(f"job_{job}.csv", "w", newline="") as file:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["numbers", "sum", "mean"])
    table.writerow([str(numbers), sum(numbers), sum(numbers) / len(numbers)])
print(f"Job {job} completed")
