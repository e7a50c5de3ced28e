"""Runs where files came along: campusgrid submit --entry main.py --file . --out 'report/**' -w"""

import csv
import pathlib

from tools.mean import mean

with open("data/heights.csv", newline="") as file:
    heights = [float(row["height"]) for row in csv.DictReader(file)]
report = pathlib.Path("report")
report.mkdir()
(report / "mean.txt").write_text(f"{mean(heights):.1f}\n")
print(f"The mean of {len(heights)} heights is {mean(heights):.1f}")
