"""
Novelties among the training data
=================================

Training data are seldom clean. Here up to a fifth of the patches that a detector learns
as normal come from the photograph that it should call novel. Three cases are compared:
nothing is known about these patches; half of them are known and labelled -1 in ``y``; or
only their share is known and passed as ``contamination``.
"""

import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_sample_images

from skrnd import SVDRNDDetector
from skrnd.metrics import auroc_score

SIDE = 16
N_TRAIN = 260
temple, flower = (photo.mean(axis=2) for photo in load_sample_images().images)
rng = np.random.default_rng(0)


def draw_patches(photograph, n):
    """Draw patches of SIDE x SIDE pixels, from anywhere in a photograph."""
    windows = sliding_window_view(photograph, (SIDE, SIDE))
    rows, columns = (rng.integers(size, size=n) for size in windows.shape[:2])
    return windows[rows, columns]


X_test = np.concatenate([draw_patches(temple, 500), draw_patches(flower, 500)])
y_test = np.repeat([1, -1], 500)

# %%
# A row that ``y`` labels -1 is left out of the training; any other label is ignored.

shares = [0.05, 0.1, 0.2]
ways = ("nothing is known", "half of them are known: y", "their share is known: contamination")
auroc = {way: [] for way in ways}
false_alarms = {way: [] for way in ways}
found = {way: [] for way in ways}
for share in shares:
    n_novel = round(share * N_TRAIN)
    X = np.concatenate([draw_patches(temple, N_TRAIN - n_novel), draw_patches(flower, n_novel)])
    half_known = np.where(np.arange(N_TRAIN) < N_TRAIN - n_novel // 2, 1, -1)
    known = ((None, "auto"), (half_known, "auto"), (None, share))
    for way, (y, contamination) in zip(ways, known, strict=True):
        detector = SVDRNDDetector(
            blur="svd", max_epochs=7, contamination=contamination, random_state=0
        ).fit(X, y)
        auroc[way].append(auroc_score(y_test, detector.score_samples(X_test)))
        alarm = detector.predict(X_test) == -1
        false_alarms[way].append(alarm[y_test == 1].mean())
        found[way].append(alarm[y_test == -1].mean())

print(f"{'':36}", "".join(f"{share:9.0%}" for share in shares))
for way in ways:
    print(f"{way:36} AUROC", "".join(f"{value:5.2f}    " for value in auroc[way]))

# %%
# The order of the scores (AUROC) suffers little. The threshold suffers more: novelties
# among the held-out patches move it, and fewer new ones are found. Those labelled in ``y``
# do no harm. A known share puts the threshold where it belongs, at the price of
# false alarms, but the novelties are still learned.

figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
panels = (
    (auroc, "order of the scores", "AUROC"),
    (false_alarms, "normal: false alarms", "share called novel"),
    (found, "novel: found", "share called novel"),
)
for ax, (values, title, label) in zip(axes, panels, strict=True):
    for way, style in zip(ways, ("s--", "o-", "^:"), strict=True):
        ax.plot(shares, values[way], style, label=way)
    ax.set(xlabel="share of novelties in the training data", title=title, ylabel=label)
    ax.set(ylim=(-0.02, 1.03), xticks=shares)
axes[0].legend(fontsize=9, loc="lower left")
plt.show()
