"""The method as its paper describes it, written plainly, to be measured against.

Every image is blurred anew in every epoch by numpy, on its way into the batch, which tells
the rank of each channel by a decomposition of its own, as the authors' code does; both
targets look at the whole of every batch, of which half of the answers are used; all is
float32. Only the networks, the batch
size, the optimiser and the number of epochs are those of the package.
"""

import numpy as np
import torch

from skrnd._networks import build_networks


def blurred(image, k):
    """Zero the k smallest non-zero singular values of each channel of one image."""
    copy = np.empty_like(image)
    for j, channel in enumerate(image):
        u, s, vh = np.linalg.svd(channel)
        s[max(0, np.linalg.matrix_rank(channel) - k) :] = 0
        copy[j] = u @ np.diag(s) @ vh
    return copy


class ImagesAndBlurs(torch.utils.data.Dataset):
    """Pairs of an image and its blurred copy."""

    def __init__(self, images, k):
        self.images = images
        self.k = k

    def __len__(self):
        return len(self.images)

    def __getitem__(self, row):
        image = self.images[row]
        return torch.from_numpy(image), torch.from_numpy(blurred(image, self.k))


def fit(images, k, *, max_epochs, batch_size, learning_rate, seed=0):
    """Train on standardised float32 images (n, C, H, W); returns predictor and targets."""
    generator = torch.Generator().manual_seed(seed)
    predictor, targets = build_networks(
        "auto", images.shape[1:], n_targets=2, n_members=1, generator=generator
    )
    targets.requires_grad_(False).eval()
    optimiser = torch.optim.Adam(predictor.parameters(), lr=learning_rate)
    loader = torch.utils.data.DataLoader(
        ImagesAndBlurs(images, k), batch_size=batch_size // 2, shuffle=True, generator=generator
    )
    for _ in range(max_epochs):
        for originals, copies in loader:
            batch = torch.cat([originals, copies])
            predicted = predictor(batch)
            said = [targets(batch, [0])[:, 0], targets(batch, [1])[:, 0]]
            wanted = torch.stack(
                [said[int(row >= len(originals))][row] for row in range(len(batch))]
            )
            loss = (predicted - wanted).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return predictor.eval(), targets
