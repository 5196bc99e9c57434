"""Sources of the published numbers of these tasks: Bai, Kolter & Koltun 2018 (arXiv:1803.01271)."""

from __future__ import annotations

from collections.abc import Mapping

from harness import PublishedRow

GATED: Mapping[str, float] = {
    "sequential MNIST": 99.0,
    "permuted MNIST": 96.9,
    "adding problem T=600": 5.6e-5,
    "copy memory T=1000": 0.00508,
    "music JSB Chorales": 8.13,
    "music Nottingham": 3.12,
    "word-level PTB": 87.94,
    "character-level PTB": 1.306,
    "text8": 1.485,
}
"""Title of a row → Table 5 (supplement D): the TCN with gated linear units, at an equal count of parameters."""


def table(number: int, row: str) -> str:
    """Return the source of a number in one of the paper's tables."""
    return f"Bai, Kolter & Koltun 2018 (arXiv:1803.01271), Table {number}, {row}"


def published_row(number: int, title: str, *, parameters: int, results: Mapping[str, float], note: str) -> PublishedRow:
    """Return a row of table `number`; if it has results, the result of the gated TCN is added."""
    gated = {"gated-tcn": GATED[title]} if results and title in GATED else {}
    return PublishedRow(
        source=table(number, title),
        parameters=parameters,
        results={**results, **gated},
        note=note,
        sources={name: table(5, title) for name in gated},
    )
