"""One fine integer for networks whose model width is too coarse to meet a parameter budget.

One residual stream runs through all layers, so one more channel of it widens every layer at once.  That is 7 % of a
transformer of two layers and 12,000 parameters, and twice that if the heads grow too.  A unit inside a single layer (a
hidden unit of a feed-forward net, a channel of a recurrence) costs far less, 0.35 % there, and layers may have
different numbers of them.  So the width that the harness solves for counts single inner units over all layers.  The
model width grows by a channel as soon as the inner units cost as much as that channel.  For a transformer of two layers
that reads one number and separates ten classes, the hidden units of the first and the second layer are:

    model 20: 80 + 80, 81 + 80, 81 + 81, …, 90 + 90;  model 21: 84 + 84, 85 + 84, …

The count grows by one inner unit per step, within half of one, and a layer has `expansion` inner units per channel or
slightly more.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from harness import Signature

Count = Callable[[int, int], int]
"""(model width, inner units in addition to those of the model width) → parameters, up to a constant.

It grows in both, linearly in the second.
"""

NARROWEST = 2
"""The smallest model width: normalisation of a single channel would leave only its sign."""


def sizes(width: int, signature: Signature, count: Count) -> tuple[int, int]:
    """Return the model width and the number of additional inner units; `width` is at least 1.

    If the decoder is tied, a model width equal to the embedding is left out: without the projection to the embedding,
    the count would fall there, and the solver needs a count that grows.
    """
    left_out = signature.in_features if signature.tied else None
    left = width - 1
    for model, wider in itertools.pairwise(size for size in itertools.count(NARROWEST) if size != left_out):
        now = count(model, 0)
        steps = max(round((count(wider, 0) - now) / (count(model, 1) - now)), 1)
        if left < steps:
            return model, left
        left -= steps
    raise AssertionError("the model widths have no end")


def spread(units: int, layers: int) -> list[int]:
    """Return the units of each layer; earlier layers have at most one more than later ones."""
    return [units // layers + (layer < units % layers) for layer in range(layers)]


def outside(signature: Signature) -> int:
    """Return the parameters that one channel of the model width costs before and after the layers.

    These are its row of the input projection with the bias, and its column of the decoder (or of the projection to the
    embedding if the decoder is tied).
    """
    return signature.in_features + 1 + (signature.in_features if signature.tied else signature.out_features)
