"""Detect inputs that are the target under another name."""

from __future__ import annotations

import re

import numpy as np

from harness_tasks.own.columns import Codes, Numbers

EXACT = 1e-9
"""Distance of a correlation from 1 below which the two columns must be the same."""
GLANCE = 10_000
"""Rows that are checked first for whether a column has at most as many values as there are classes."""
COPIES = frozenset(
    {
        "copy",
        "duplicate",
        "dup",
        "true",
        "truth",
        "gt",
        "label",
        "labels",
        "target",
        "actual",
        "original",
        "orig",
        "next",
        "future",
        "lead0",
        "lag0",
        "enc",
        "encoded",
        "code",
        "codes",
    }
)
"""Words in the name of a column that is a copy of another."""


def leaks(
    name: str, values: Numbers, target_name: str, target: Numbers | Codes, *, classes: int, by_name: bool
) -> str | None:
    """Return how a column reveals the target, as the rest of a sentence about it; None if it does not.

    classes: number of classes of the target, 0 if it is a number.  by_name: whether the name alone can reveal it.
    """
    if by_name and is_copy_by_name(name, target_name):
        return f"is named like a copy of the target {target_name!r}"
    if classes == 0 and _is_linear_in(values, target.astype(np.float64)):
        return f"is the target {target_name!r} up to scale"
    if classes and _names_the_class(values, target.astype(np.int64), classes):
        return f"has one value for each class of the target {target_name!r}"
    return None


def is_copy_by_name(name: str, target: str) -> bool:
    """Return whether a name has the words of the target and words for a copy: `y_lag0`, `target copy`, `Y`."""
    words, of_target = _words(name), _words(target)
    left = [word for word in words if word not in COPIES or word in of_target]
    return name != target and bool(of_target) and left == of_target


def _words(name: str) -> list[str]:
    text = re.sub(r"lag[ _-]?0\b", "lag0", name.lower())
    return [word for word in re.split(r"[^a-z0-9]+", text) if word]


def _is_linear_in(values: Numbers, target: Numbers) -> bool:
    inputs, targets = _centred(values), _centred(target)
    size = np.sqrt(np.dot(inputs, inputs) * np.dot(targets, targets))
    return bool(size > 0 and abs(np.dot(inputs, targets)) >= (1 - EXACT) * size)


def _centred(values: Numbers) -> Numbers:
    """Return values minus their mean, scaled to at most 1, so that no product of two overflows."""
    centred = values - values.mean()
    largest = np.abs(centred).max()
    return np.asarray(centred / largest if largest > 0 else centred)


def _names_the_class(values: Numbers, target: Codes, classes: int) -> bool:
    """Return whether the column's values and the classes correspond one to one."""
    if len(np.unique(values[:GLANCE])) > classes:
        return False
    distinct, codes = np.unique(values, return_inverse=True)
    if not 2 <= len(distinct) <= classes:
        return False
    pairs = len(np.unique(codes.astype(np.int64) * classes + target))
    return pairs == len(distinct) == len(np.unique(target))
