"""Inputs that are the target under another name."""

from __future__ import annotations

import re

import numpy as np

from harness_tasks.own.columns import Codes, Numbers

EXACT = 1e-9
"""How near to 1 a correlation is that no measurement has."""
GLANCE = 10_000
"""Rows that tell whether a column has as few values as there are classes."""
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
"""What a column is called that is another one's copy."""


def leaks(
    name: str, values: Numbers, target_name: str, target: Numbers | Codes, *, classes: int, by_name: bool
) -> str | None:
    """How a column gives the target away, as the rest of a sentence about it; None where it does not.

    classes: of the target, 0 where it is a number.  by_name: whether its name alone may.
    """
    if by_name and is_copy_by_name(name, target_name):
        return f"is named like a copy of the target {target_name!r}"
    if classes == 0 and _is_linear_in(values, target.astype(np.float64)):
        return f"is the target {target_name!r} up to scale"
    if classes and _names_the_class(values, target.astype(np.int64), classes):
        return f"has one value for each class of the target {target_name!r}"
    return None


def is_copy_by_name(name: str, target: str) -> bool:
    """`y_lag0`, `target copy`, `Y`: the target's words and such as say that it is a copy."""
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
    """Values without their mean, at most 1 in size, so that no product of two overflows."""
    centred = values - values.mean()
    largest = np.abs(centred).max()
    return np.asarray(centred / largest if largest > 0 else centred)


def _names_the_class(values: Numbers, target: Codes, classes: int) -> bool:
    """Whether the column's values and the classes stand one for one."""
    if len(np.unique(values[:GLANCE])) > classes:
        return False
    distinct, codes = np.unique(values, return_inverse=True)
    if not 2 <= len(distinct) <= classes:
        return False
    pairs = len(np.unique(codes.astype(np.int64) * classes + target))
    return pairs == len(distinct) == len(np.unique(target))
