# /// script
# requires-python = ">=3.9"
# dependencies = ["numpy"]
# ///
# Fits a line to noisy points. What it needs stands in its own header (PEP 723), so nothing else has
# to be said when it is submitted.
import numpy as np

rng = np.random.default_rng(seed=1)
x = np.linspace(0, 10, 10_001)
y = 3 * x + 7 + rng.normal(size=x.size)

slope, offset = np.polyfit(x, y, 1)
print(f"NumPy {np.__version__}")
print(f"Slope: {slope:.2f}")
print(f"Offset: {offset:.1f}")
