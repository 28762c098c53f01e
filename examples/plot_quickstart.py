"""
What is novel in a photograph?
==============================

A detector learns patches of one photograph, a Chinese temple. Then it scores the
part of the temple that it has not seen, and another photograph, a flower before a
background that is out of focus. Both are turned to grey, so that the colour does
not give the answer away. The flower is smooth, and plain random network
distillation (RND, ``blur=None``) finds hardly anything novel in it; with blurred
copies in the training (SVD-RND, ``blur="svd"``) it is found.

Run this script in the folder where the picture should be saved; it takes a minute on
two cores and downloads nothing.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_images

from skrnd import SVDRNDDetector
from skrnd.metrics import auroc_score, tnr_at_tpr_score

PATCH = 32
temple, flower = (
    photograph.mean(axis=2).astype(np.float32) for photograph in load_sample_images().images
)


def cut_patches(photograph, step):
    """Cut overlapping patches of PATCH x PATCH pixels, and their corners."""
    rows = np.arange(0, photograph.shape[0] - PATCH + 1, step)
    columns = np.arange(0, photograph.shape[1] - PATCH + 1, step)
    corners = [(row, column) for row in rows for column in columns]
    patches = np.stack([photograph[r : r + PATCH, c : c + PATCH] for r, c in corners])
    return patches, corners


# %%
# The detector trains on the left two thirds of the temple. The right third is held
# back, to see how often it raises a false alarm.

split = temple.shape[1] * 2 // 3
X_train, _ = cut_patches(temple[:, :split], step=8)
X_normal, _ = cut_patches(temple[:, split:], step=8)
X_novel, _ = cut_patches(flower, step=16)
X_test = np.concatenate([X_normal, X_novel])
y_test = np.r_[np.ones(len(X_normal)), -np.ones(len(X_novel))]
print(
    f"{len(X_train)} patches to train on, {len(X_normal)} normal and {len(X_novel)} novel to test"
)

# %%
# The two methods differ in one argument. Overlapping patches are so alike that two
# passes over them (epochs) are enough; by default there would be eight. TNR at 95 % TPR
# is the share of flower patches found when 5 % of the temple patches raise an alarm.

detectors = {
    "plain RND": SVDRNDDetector(blur=None, max_epochs=2, random_state=0),
    "SVD-RND": SVDRNDDetector(blur="svd", max_epochs=2, random_state=0),
}
scores = {}
print(f"{'':10} {'AUROC':>6} {'TNR at 95 % TPR':>16}")
for name, detector in detectors.items():
    scores[name] = detector.fit(X_train).score_samples(X_test)
    auroc, tnr = auroc_score(y_test, scores[name]), tnr_at_tpr_score(y_test, scores[name])
    print(f"{name:10} {auroc:6.3f} {tnr:16.3f}")

# %%
# The novelty is painted over both photographs: each pixel has the mean novelty of the
# patches that contain it. The dashed line separates the part that was trained on from
# the part that was not.


def novelty_map(detector, photograph, step=16):
    """Mean novelty of the patches around each pixel."""
    patches, corners = cut_patches(photograph, step)
    total = np.zeros(photograph.shape)
    count = np.zeros(photograph.shape)
    for novelty, (row, column) in zip(-detector.score_samples(patches), corners, strict=True):
        window = np.s_[row : row + PATCH, column : column + PATCH]
        total[window] += novelty
        count[window] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


figure, axes = plt.subplots(2, 3, figsize=(13, 5.6), layout="constrained")
for (name, detector), (left, middle, right) in zip(detectors.items(), axes, strict=True):
    threshold = -detector.offset_
    for ax, photograph, title in ((left, temple, "temple"), (middle, flower, "flower")):
        ax.imshow(photograph, cmap="gray")
        painted = ax.imshow(
            novelty_map(detector, photograph) / threshold,
            cmap="inferno",
            alpha=0.6,
            vmin=0,
            vmax=2,
        )
        ax.set(title=f"{name}: {title}", xticks=[], yticks=[])
    left.axvline(split, color="white", linestyle="--")
    left.text(split - 8, 30, "trained on", color="white", ha="right")
    left.text(split + 8, 30, "held back", color="white")
    figure.colorbar(painted, ax=middle, label="novelty / threshold", extend="max")

    novelty = -scores[name] / threshold
    bins = np.linspace(0, np.quantile(novelty, 0.99), 50)
    for label, text in ((1, "temple, held back"), (-1, "flower")):
        right.hist(novelty[y_test == label], bins, density=True, alpha=0.6, label=text)
    right.axvline(1, color="black", linestyle="--", label="threshold")
    right.set(xlabel="novelty / threshold", ylabel="density", yticks=[])
    right.legend()

figure.savefig("quickstart.png", dpi=120)
print("saved quickstart.png")
plt.show()
