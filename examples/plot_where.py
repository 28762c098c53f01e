"""
Where in the picture is the novelty?
====================================

A verdict on a picture is easier to trust if it says where to look.
:func:`~skrnd.inspection.novelty_map` scores windows of a picture, which may be larger than
the images that the detector was trained on. Here a piece of another photograph is pasted
into a picture, so the place of the novelty is known.
"""

import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_sample_images

from skrnd import SVDRNDDetector
from skrnd.inspection import novelty_map

SIDE = 16
temple, flower = (photo.mean(axis=2) for photo in load_sample_images().images)

# %%
# The detector learns patches of the left part of the temple. The picture to look at is
# the right part, with a piece of the flower pasted into it.

windows = sliding_window_view(temple[:, :420], (SIDE, SIDE))[::20, ::20]
detector = SVDRNDDetector(blur="svd", max_epochs=12, random_state=0)
detector.fit(windows.reshape(-1, SIDE, SIDE))

picture = temple[180:400, 430:630].copy()
piece = np.s_[90:154, 60:124]
picture[piece] = flower[40:104, 300:364]

# %%
# The map holds minus scores: the larger, the more novel. A window is novel to a degree
# whatever it shows, so the map is compared with that of a normal picture: here, with that
# of the part that the detector was trained on.

normal = novelty_map(detector, temple[None, 180:400, :420])
novelty = novelty_map(detector, picture[None])[0] / np.quantile(normal, 0.95)
is_pasted = np.zeros(picture.shape, dtype=bool)
is_pasted[piece] = True
above = np.maximum(novelty - 1, 0)
print(f"share of the picture that is pasted:       {is_pasted.mean():.2f}")
print(f"share of the novelty that is in that piece: {above[is_pasted].sum() / above.sum():.2f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.4), layout="constrained")
left.imshow(picture, cmap="gray")
left.set(title="the picture")
right.imshow(picture, cmap="gray")
painted = right.imshow(novelty, cmap="inferno", alpha=0.65, vmin=0, vmax=3)
right.contour(novelty, levels=[1], colors="white", linewidths=1.5)
right.set(title="novelty, and where it is more than is usual")
label = "novelty / 95 % quantile of a normal picture"
figure.colorbar(painted, ax=right, label=label, extend="max")
for ax in (left, right):
    ax.set(xticks=[], yticks=[])
plt.show()
