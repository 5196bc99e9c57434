"""One fine integer for networks whose model width is too coarse to meet a parameter budget.

One residual stream runs through all layers, so one more channel of it widens every layer at once: 7 % of a transformer
of two layers and 12,000 parameters, twice that where it takes the heads along.  What a single layer has inside (a
hidden unit of a feed-forward net, a channel of a recurrence) costs far less, 0.35 % there, and layers may differ in
it.  So the width that the harness solves counts single inner units over all layers, and the model width takes a channel
of its own as soon as they have paid for it.  A transformer of two layers that reads one number and tells ten classes
apart, by the hidden units of the first and the second:

    model 20: 80 + 80, 81 + 80, 81 + 81, …, 90 + 90;  model 21: 84 + 84, 85 + 84, …

The count grows by one inner unit a step, within half of one, and a layer has `expansion` inner units a channel or
slightly more.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from harness import Signature

Count = Callable[[int, int], int]
"""(model width, inner units beside those that the model width brings) → parameters, up to a constant.

Grows in both, linearly in the second.
"""


NARROWEST = 2
"""The smallest model width: of a single channel, normalisation leaves the sign alone."""


def sizes(width: int, signature: Signature, count: Count) -> tuple[int, int]:
    """The model width, and the inner units beside those it brings; `width` is at least 1.

    Where the decoder is tied, a model width equal to the embedding is left out: without the projection to it the count
    would fall there, and the solver counts on a count that grows.
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
    """Units for each layer, the earlier ones at most one more than the later."""
    return [units // layers + (layer < units % layers) for layer in range(layers)]


def outside(signature: Signature) -> int:
    """Parameters that one channel of the model width costs before and after the layers: its row of the projection in
    with the bias, and its column of the decoder (of a tied one, of the projection to the embedding)."""
    return signature.in_features + 1 + (signature.in_features if signature.tied else signature.out_features)
