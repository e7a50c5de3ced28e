# Trains a random forest on made-up data and says how well it learned.
import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier

X, y = make_classification(n_samples=10000, n_features=20)

clf = RandomForestClassifier(n_estimators=100)
clf.fit(X, y)

print(f"Accuracy: {clf.score(X, y):.4f}")
