"""
Saving a detector, and opening it safely
========================================

A pickle can run any code when it is opened. :mod:`skrnd.persistence` writes a file in
the safetensors format instead, in which nothing can be executed: it has a readable
header and arrays. The loaded detector gives exactly the scores of the saved one, and a
file in which even one byte has changed is refused.

It needs safetensors: ``pip install "skrnd[io]"``.
"""

import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skrnd import SVDRNDDetector
from skrnd.persistence import FileFormatError, load, save

digits = load_digits()
X_train, X_new = digits.images[:900], digits.images[900:]
detector = SVDRNDDetector(blur="svd", max_epochs=5, random_state=0).fit(X_train)

# %%
# The file begins with eight bytes that give the length of the header. The header is JSON
# and holds the parameters, the fitted attributes and the position of each array.

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "digits.safetensors"
    save(detector, path)
    opened = load(path)

    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    print(f"{len(content):,} bytes, {len(header) - 1} arrays, among them:")
    for name in ("mean_", "scale_", "calibration_scores_"):
        print(f"  {name:20} {header[name]['dtype']} {header[name]['shape']}")

    damaged = bytearray(content)
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    try:
        load(path)
    except FileFormatError as error:
        print("after one bit was changed:", type(error).__name__)

same = np.array_equal(opened.score_samples(X_new), detector.score_samples(X_new))
print("the opened detector scores as the saved one:", same)

# %%
# This is how a notebook shows the loaded detector, with its parameters:

opened

# %%
# The loaded detector judges digits that it has not seen.

p_values = opened.p_values(X_new)
order = np.argsort(opened.score_samples(X_new))
figure, axes = plt.subplots(2, 10, figsize=(11, 3), layout="constrained")
for row, chosen, name in zip(axes, (order[:10], order[:-11:-1]), ("most", "least"), strict=True):
    for ax, index in zip(row, chosen, strict=True):
        ax.imshow(X_new[index], cmap="gray_r")
        ax.set(xticks=[], yticks=[], title=f"p = {p_values[index]:.2f}")
    row[0].set_ylabel(f"{name} novel")
plt.show()
