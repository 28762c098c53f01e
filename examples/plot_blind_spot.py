"""
The blind spot of plain distillation
====================================

A predictor that learns to mimic a random network on sharp pictures mimics it
even better on blurred ones, which it has never seen: they are simpler. The error
of the mimicry is meant to be the novelty, but it is *lowest* for blurred
pictures, and a photograph with a background out of focus passes for normal.

This example shows how that comes about during training. Grey patches of a photograph
of a temple are normal. Each point in the figure is a separate fit with that many
epochs, which are passes over the training images.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullLocator, ScalarFormatter
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_sample_images

from skrnd import SVDRNDDetector
from skrnd.blur import SVDBlur
from skrnd.metrics import auroc_score

SIDE = 16
temple, flower = (photo.mean(axis=2) for photo in load_sample_images().images)


def cut_patches(photograph, step):
    """Cut patches of SIDE x SIDE pixels, one every `step` pixels."""
    windows = sliding_window_view(photograph, (SIDE, SIDE))
    return windows[::step, ::step].reshape(-1, SIDE, SIDE)


# %%
# The detectors train on the left two thirds of the temple. The right third is held back;
# it is scored as it is and blurred.

split = temple.shape[1] * 2 // 3
X_train = cut_patches(temple[:, :split], step=24)
X_test = cut_patches(temple[:, split:], step=16)
X_blurred = SVDBlur(k=14).fit_transform(X_test)
X_flower = cut_patches(flower, step=32)
y = np.r_[np.ones(len(X_test)), -np.ones(len(X_flower))]
print(f"{len(X_train)} patches to train on, {len(X_test)} held back, {len(X_flower)} of the flower")

# %%
# ``blur=None`` is plain random network distillation (RND). ``blur="svd"`` also trains the
# predictor on blurred copies of the training patches, on which it has to mimic *another*
# random network. ``score_samples`` is minus the error of the mimicry (the loss).

epochs = [1, 2, 4, 8, 16]
methods = {"plain RND": None, "SVD-RND": "svd"}
loss = {name: [] for name in methods}
auroc = {name: [] for name in methods}
for name, blur in methods.items():
    for max_epochs in epochs:
        detector = SVDRNDDetector(
            k="auto" if blur is None else 14, blur=blur, max_epochs=max_epochs, random_state=0
        ).fit(X_train)
        loss[name].append([-detector.score_samples(X).mean() for X in (X_test, X_blurred)])
        scores = detector.score_samples(np.concatenate([X_test, X_flower]))
        auroc[name].append(auroc_score(y, scores))

for name in methods:
    of_test, of_blurred = loss[name][-1]
    print(
        f"{name:9}  loss of held-back patches {of_test:.2f}, of blurred ones {of_blurred:.2f}, "
        f"AUROC of the flower {auroc[name][-1]:.2f}"
    )

# %%
# On the left, the loss of the blurred patches falls below that of the unblurred ones
# and stays there. In the middle, with blurred copies in the training, it never does.
# The right panel shows what that means for the flower; an AUROC of .5 is guessing.

figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
for ax, name in zip(axes, methods, strict=False):
    of_test, of_blurred = np.transpose(loss[name])
    ax.plot(epochs, of_test, "o-", color="C0", label="held back")
    ax.plot(epochs, of_blurred, "s--", color="C1", label="held back, blurred")
    ax.set(title=f"{name}: loss", ylabel="mean squared error", yscale="log")
    ax.set_ylim(0.05, 6)
    ax.legend()
for name, marker in zip(methods, ("^:", "D-"), strict=True):
    axes[2].plot(epochs, auroc[name], marker, color="C2" if marker == "D-" else "C3", label=name)
axes[2].axhline(0.5, color="0.5", linewidth=0.8)
axes[2].set(title="is the flower found?", ylabel="AUROC", ylim=(0.4, 1.02))
axes[2].legend(loc="center right")
for ax in axes:
    ax.set(xlabel="epochs", xscale="log", xticks=epochs)
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_locator(NullLocator())
plt.show()
