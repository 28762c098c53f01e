"""
Choosing the blur without novel images
======================================

The strength ``k`` of the blur matters: too mild a copy cannot be told from its
image, and too strong a one is unlike any image that will ever come. Usually there are
no novel images to choose it by. :class:`~skrnd.model_selection.ProbeScorer` replaces them
by *probes*: held-out normal images, some made a little smoother, some a little
sharper. ``k="auto"`` judges by the sharpness of the copies before any training.

Here there are novel images after all, to check both choices: patches of a flower, for
a detector of patches of a temple.
"""

import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_sample_images
from sklearn.model_selection import GridSearchCV

from skrnd import SVDRNDDetector
from skrnd.metrics import tnr_at_tpr_scorer
from skrnd.model_selection import NoveltyKFold, ProbeScorer

SIDE = 16
temple, flower = (photo.mean(axis=2) for photo in load_sample_images().images)


def cut_patches(photograph, step):
    """Cut patches of SIDE x SIDE pixels, one every `step` pixels."""
    windows = sliding_window_view(photograph, (SIDE, SIDE))
    return windows[::step, ::step].reshape(-1, SIDE, SIDE)


X_normal, X_flower = cut_patches(temple, step=26), cut_patches(flower, step=40)
X = np.concatenate([X_normal, X_flower])
y = np.r_[np.ones(len(X_normal)), -np.ones(len(X_flower))]
print(f"{len(X_normal)} patches of the temple, {len(X_flower)} of the flower")

# %%
# One search computes two scores. Rows labelled -1 are never trained on, and the probes
# leave them out. Only the second score uses them, and nothing is chosen by it.

search = GridSearchCV(
    SVDRNDDetector(blur="svd", max_epochs=6, random_state=0),
    {"k": [8, 12, 14, 15]},
    scoring={"probes": ProbeScorer(), "flower": tnr_at_tpr_scorer},
    refit="probes",
    cv=NoveltyKFold(2, shuffle=True, random_state=0),
).fit(X, y)
strengths = search.cv_results_["param_k"].astype(int)
probes, found = (search.cv_results_[f"mean_test_{name}"] for name in ("probes", "flower"))
auto = SVDRNDDetector(blur="svd", max_epochs=1, random_state=0).fit(X_normal).k_

print(" k  probes  flower")
for k, by_probes, by_flower in zip(strengths, probes, found, strict=True):
    print(f"{k:2}  {by_probes:6.2f}  {by_flower:6.2f}")
print(f"chosen by the probes: k = {search.best_params_['k']}, by k='auto': {auto}")

# %%
# The two scores need not have the same size, since the probes are milder changes than the
# flower is. But where one rises, so should the other.

figure, axes = plt.subplots(2, 1, figsize=(7, 5), layout="constrained", sharex=True)
curves = (
    (probes, "o-", "C0", "probes: need no novel image"),
    (found, "s-", "C1", "flower: the truth, for one kind of novelty"),
)
for ax, (values, style, color, title) in zip(axes, curves, strict=True):
    ax.plot(strengths, values, style, color=color)
    ax.axvline(search.best_params_["k"], color="0.4", linewidth=1, label="chosen by the probes")
    ax.axvline(auto, color="0.4", linestyle=":", label='k="auto"')
    ax.set(title=title, ylabel="TNR at 95 % TPR")
    ax.set_ylim(0, 1.25 * values.max())
axes[0].legend(loc="lower left")
axes[1].set_xlabel("singular values zeroed, of 16")
plt.show()
