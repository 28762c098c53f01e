"""
Thresholds, p-values and false discoveries
==========================================

A detector gives every image a score. From which score on to raise an alarm is a separate
question, which can be answered anew at any time without training. Here thirty of a
thousand new patches come from another photograph than the rest. They are judged in three
ways: so that 5 % of the normal patches raise an alarm (the default), so that 1 % do, and
so that about 10 % of the *alarms* are false.

All normal patches are drawn at random from the same photograph. Thresholds and p-values
keep their promise only for new images of the same kind as those that set them.
"""

import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.stats import false_discovery_control
from sklearn.datasets import load_sample_images

from skrnd import SVDRNDDetector

SIDE = 16
temple, flower = (photo.mean(axis=2) for photo in load_sample_images().images)
rng = np.random.default_rng(0)


def draw_patches(photograph, n):
    """Draw patches of SIDE x SIDE pixels, from anywhere in a photograph."""
    windows = sliding_window_view(photograph, (SIDE, SIDE))
    rows, columns = (rng.integers(size, size=n) for size in windows.shape[:2])
    return windows[rows, columns]


X_train, X_calibration = draw_patches(temple, 500), draw_patches(temple, 2000)
X_new = np.concatenate([draw_patches(temple, 970), draw_patches(flower, 30)])
is_novel = np.arange(1000) >= 970

# %%
# ``fit`` holds a tenth of the patches out of the training and sets the threshold
# on them, so that 5 % of new normal ones are expected to raise an alarm.

detector = SVDRNDDetector(blur="svd", max_epochs=16, random_state=0).fit(X_train)
thresholds = {"5 %, 50 patches": detector.offset_}
alarms = {"5 %, by the 50 patches that fit held out": detector.predict(X_new) == -1}

# %%
# ``calibrate`` sets the threshold anew from normal patches that were not trained on. 2,000
# of them are enough to keep a rate of 1 %.

detector.calibrate(X_calibration, false_alarm_rate=0.01)
thresholds["1 %, 2,000 patches"] = detector.offset_
alarms["1 %, by 2,000 further patches"] = detector.predict(X_new) == -1

# %%
# ``p_values`` says how rarely a normal patch is as novel. From the p-values, scipy chooses
# as many patches as possible of which at most 10 % are expected to be normal.

p_values = detector.p_values(X_new)
alarms["10 % of the alarms, by p-values"] = false_discovery_control(p_values) <= 0.1

print(f"{'false alarms allowed':42} alarms  false  found of 30")
for name, alarm in alarms.items():
    n_false, n_found = (alarm & ~is_novel).sum(), (alarm & is_novel).sum()
    print(f"{name:42} {alarm.sum():6}  {n_false:5}  {n_found:11}")

# %%
# Left: scores (lower means more novel) and the two thresholds. Right: p-values in
# order. Those of normal patches lie along the diagonal, however good or bad the detector.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
scores = detector.score_samples(X_new)
bins = np.linspace(scores.min(), 0, 60)
left.hist(scores[~is_novel], bins, label="temple: normal", alpha=0.6)
left.hist(scores[is_novel], bins, label="flower: novel", alpha=0.8)
for (name, threshold), style in zip(thresholds.items(), ("--", ":"), strict=True):
    left.axvline(threshold, color="black", linestyle=style, label=name)
left.set(xlabel="score_samples", ylabel="patches", yscale="log", title="Scores and thresholds")
left.legend()
for mask, label in ((~is_novel, "temple: normal"), (is_novel, "flower: novel")):
    ordered = np.sort(p_values[mask])
    right.plot(np.linspace(0, 1, len(ordered)), ordered, ".", label=label)
right.plot([0, 1], [0, 1], color="0.5", linewidth=0.8)
right.set(xlabel="share of the patches", ylabel="p-value", title="p-values in order")
right.legend()
plt.show()
