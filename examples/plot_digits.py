"""
A digit that was never seen
===========================

The copies teach a detector smoothness and sharpness. What if the novelty is neither,
but a *class* that was not in the training data? Here each of the ten digits in turn is
left out of the training. Among images as small and alike as these, the distance in
pixels tells most, and scikit-learn's local outlier factor is the better detector.
:class:`~skrnd.SVDRNDDetector` finds unseen shapes too, and more of them without copies:
a blurred digit is no stand-in for another digit.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.neighbors import LocalOutlierFactor

from skrnd import SVDRNDDetector
from skrnd.metrics import auroc_score

digits = load_digits()
images, labels = digits.images, digits.target
is_train = np.random.default_rng(0).random(len(images)) < 0.4


def flat(images):
    """Turn images into rows, for detectors that take no images."""
    return images.reshape(len(images), -1)


# %%
# ``LocalOutlierFactor(novelty=True)`` has the same methods, and scores of the same sign.

sheets = {}
auroc = {"local outlier factor": [], "plain RND": [], "SVD-RND": []}
for unseen in range(10):
    X_train = images[is_train & (labels != unseen)]
    X_test, y_test = images[~is_train], np.where(labels[~is_train] == unseen, -1, 1)
    factor = LocalOutlierFactor(novelty=True).fit(flat(X_train))
    auroc["local outlier factor"].append(auroc_score(y_test, factor.score_samples(flat(X_test))))
    for name, blur in (("plain RND", None), ("SVD-RND", "svd")):
        detector = SVDRNDDetector(blur=blur, max_epochs=3, random_state=0).fit(X_train)
        auroc[name].append(auroc_score(y_test, detector.score_samples(X_test)))
    sheets[unseen] = X_test, y_test, np.argsort(detector.score_samples(X_test))

for name, values in auroc.items():
    print(f"{name:20}  mean AUROC {np.mean(values):.2f}, worst {min(values):.2f}")

# %%
# Below the bars: the test images that are most and least novel to SVD-RND, trained without
# fours. The fours have orange frames.

X_test, y_test, order = sheets[4]
figure = plt.figure(figsize=(11, 6.4), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=(1.2, 1))
ax = above.subplots()
for offset, (name, values) in zip((-0.27, 0, 0.27), auroc.items(), strict=True):
    ax.bar(np.arange(10) + offset, values, width=0.25, label=name)
ax.axhline(0.5, color="0.5", linewidth=0.8)
ax.set(xlabel="the unseen digit", ylabel="AUROC", xticks=range(10), ylim=(0, 1.25))
ax.legend(ncols=3, loc="upper center")
sheet = below.subplots(2, 12)
for row, chosen, name in zip(sheet, (order[:12], order[:-13:-1]), ("most", "least"), strict=True):
    for ax, index in zip(row, chosen, strict=True):
        ax.imshow(X_test[index], cmap="gray_r")
        ax.set(xticks=[], yticks=[])
        if y_test[index] == -1:
            ax.spines[:].set(color="C1", linewidth=3)
    row[0].set_ylabel(f"{name}\nnovel")
plt.show()
