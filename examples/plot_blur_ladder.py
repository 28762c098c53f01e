"""
The blur ladder of a photograph
===============================

The singular value decomposition writes a picture as a sum of simple layers, the
weightiest first. The singular values are the weights. :class:`~skrnd.blur.SVDBlur`
zeroes the K smallest ones of each channel, and what remains is smoother. The same
decomposition also makes softer copies (:class:`~skrnd.blur.SVDSoften`) and sharper
ones (:class:`~skrnd.blur.SVDSharpen`). A detector learns from such copies.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from skrnd.blur import SVDBlur, SVDSharpen, SVDSoften

photograph = load_sample_image("china.jpg")
rank = min(photograph.shape[:2])
print(f"{photograph.shape[0]} x {photograph.shape[1]} pixels, so {rank} singular values a channel")

# %%
# The blur takes a stack of images, here of a single one, and returns a stack of the same shape.

kept = [1, 5, 10, 25, 50, 100]
figure, axes = plt.subplots(2, 3, figsize=(12, 5.8), layout="constrained")
for ax, n_kept in zip(axes.flat, kept, strict=True):
    blurred = SVDBlur(k=rank - n_kept).fit_transform(photograph[None])[0]
    error = np.abs(blurred - photograph).mean()
    print(f"{n_kept:3} singular values kept: off by {error:4.1f} grey levels on average")
    ax.imshow(blurred.clip(0, 255).astype(np.uint8))
    ax.set(title=f"{n_kept} kept, K = {rank - n_kept}", xticks=[], yticks=[])
plt.show()

# %%
# Detectors usually get smaller images. This is one patch of 32 x 32 pixels and copies of
# it. A softened copy is as simple as a blurred one of the same K, but keeps most of its rank;
# a sharpened one has its K smallest singular values multiplied by four.

patch = photograph[150:182, 250:282].mean(axis=2)[None]
strengths = [8, 16, 24, 28]
figure, axes = plt.subplots(3, 5, figsize=(10, 6.4), layout="constrained")
for row, blur in zip(axes, (SVDBlur, SVDSoften, SVDSharpen), strict=True):
    row[0].imshow(patch[0], cmap="gray", vmin=0, vmax=255)
    row[0].set_title("the patch")
    row[0].set_ylabel(blur.__name__)
    for ax, k in zip(row[1:], strengths, strict=True):
        ax.imshow(blur(k=k).fit_transform(patch)[0], cmap="gray", vmin=0, vmax=255)
        ax.set_title(f"K = {k}")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
plt.show()
