"""
Smoother and sharper
====================

The copies of the normal images that a detector is trained on decide what it finds.
Grey patches of a photograph of a temple are normal; the photograph is reduced to half
its size by averaging two by two pixels. Two kinds of novelty are tried, which no
detector has seen. Patches of a flower before a background out of focus are smoother.
Patches of the same temple, reduced by leaving out every other pixel, are sharper.
"""

import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_sample_images

from skrnd import SVDRNDDetector
from skrnd.metrics import tnr_at_tpr_score

SIDE = 16
temple, flower = (photo.mean(axis=2) for photo in load_sample_images().images)


def cut_patches(photograph, step):
    """Cut patches of SIDE x SIDE pixels, one every `step` pixels."""
    windows = sliding_window_view(photograph, (SIDE, SIDE))
    return windows[::step, ::step].reshape(-1, SIDE, SIDE)


def halve(photograph):
    """Average two by two pixels."""
    height, width = photograph.shape
    even = photograph[: height // 2 * 2, : width // 2 * 2]
    return even.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))


# The sky has nothing to be sharp, and stays out. The patches overlap by half.
buildings = temple[70:]
X = np.random.default_rng(0).permutation(cut_patches(halve(buildings), step=8))
X_train = X[:600]
tests = {
    "normal: held back": X[600:],
    "smoother: the flower": cut_patches(halve(flower), step=16),
    "sharper: every other pixel": cut_patches(buildings[::2, ::2], step=16),
}

# %%
# The three detectors differ in one argument. "two-sided" is the default. TNR at 95 % TPR
# is the share of novel patches found when 5 % of the normal ones raise an alarm.

blurs = {"plain RND": None, "one-sided": "svd", "two-sided": "two-sided"}
detectors = {
    name: SVDRNDDetector(blur=blur, max_epochs=10, random_state=0).fit(X_train)
    for name, blur in blurs.items()
}
scores = {
    name: [detector.score_samples(X) for X in tests.values()]
    for name, detector in detectors.items()
}
print("TNR at 95 % TPR  smoother  sharper")
for name, (normal, *novel) in scores.items():
    smoother, sharper = (
        tnr_at_tpr_score(np.repeat([1, -1], [len(normal), len(of_kind)]), np.r_[normal, of_kind])
        for of_kind in novel
    )
    print(f"{name:15}  {smoother:8.2f}  {sharper:7.2f}")

# %%
# Above: a patch of each kind, and copies of the normal one by the three blurs of the
# two-sided detector. Below: how novel the three kinds are to each detector, in units of
# its threshold. What lies right of the line raises an alarm.

figure = plt.figure(figsize=(12, 5), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=(1, 1.15))

two_sided = detectors["two-sided"]
pictures = {}
for kind, X in tests.items():
    by_contrast = np.argsort(X.std(axis=(1, 2)))
    pictures[kind.replace(": ", ":\n")] = X[by_contrast[len(X) * 4 // 5]]
patch = pictures["normal:\nheld back"]
for blur, name in zip(two_sided.blurs_, ("blurred", "softened", "sharpened"), strict=True):
    standardised = ((patch - two_sided.mean_) / two_sided.scale_)[None, None]
    copy = blur.transform(standardised)[0, 0]
    pictures[f"copy:\n{name}"] = copy * two_sided.scale_ + two_sided.mean_
for ax, (name, picture) in zip(above.subplots(1, 6), pictures.items(), strict=True):
    ax.imshow(picture, cmap="gray", vmin=0, vmax=255)
    ax.set(xticks=[], yticks=[])
    ax.set_title(name, fontsize=10)

bins = np.geomspace(0.02, 20, 50)
for ax, name in zip(below.subplots(1, 3, sharey=True), detectors, strict=True):
    for of_kind, kind, color in zip(scores[name], tests, ("C0", "C1", "C2"), strict=True):
        novelty = (of_kind / detectors[name].offset_).clip(bins[0], bins[-1])
        weights = np.full(len(novelty), 1 / len(novelty))
        ax.hist(novelty, bins, weights=weights, alpha=0.55, color=color, label=kind)
    ax.axvline(1, color="black", linestyle="--", label="threshold")
    ax.set(title=name, xscale="log", xlabel="novelty / threshold", yticks=[])
    if name == "plain RND":
        ax.set_ylabel("share of patches")
        ax.legend(fontsize=8, loc="upper right")
plt.show()
