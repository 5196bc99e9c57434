"""Where the published numbers of these tasks stand."""

from __future__ import annotations


def table(number: int, row: str) -> str:
    """The source of a number in one of the paper's tables."""
    return f"Bai, Kolter & Koltun 2018 (arXiv:1803.01271), Table {number}, {row}"
