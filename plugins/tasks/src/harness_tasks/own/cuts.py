"""Assign rows to train, validation and test: by sequence, by group, by a column or by time.

A cut depends only on the file and the options, not on the seeds of a study: statistics, classes and the floor follow
from it, and the harness needs them before training.  It does not depend on the order of rows in the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness import SPLITS, Split, derive
from harness_tasks.own.columns import Codes, Numbers, coded
from harness_tasks.own.options import Label
from harness_tasks.own.rows import Rows

LEFT_OUT = -1
PARTS: dict[str, int] = {
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("validation", "valid", "val", "dev"), 1),
    **dict.fromkeys(("test", "testing"), 2),
}
"""Name of a split in a column, in upper or lower case → its place in SPLITS."""


@dataclass(frozen=True)
class Shares:
    """Fractions of a file that are held out."""

    validation: float
    test: float
    seed: int = 0


@dataclass(frozen=True)
class Pieces:
    """Sequences of one split, as rows in the order of `Rows`."""

    starts: Codes
    lengths: Codes

    def rows(self) -> Codes:
        """Return all rows of all pieces, one after another."""
        ends = np.cumsum(self.lengths)
        first = np.repeat(self.starts - (ends - self.lengths), self.lengths)
        return first + np.arange(int(ends[-1]) if len(ends) else 0)


def by_row(rows: Rows, column: str) -> Codes:
    """Return (rows,): places in SPLITS from a column."""
    named = coded(rows.table, column)
    return by_column(rows, rows.arranged(named.codes), named.labels, column)


def by_column(rows: Rows, codes: Codes, labels: tuple[Label, ...], column: str) -> Codes:
    """Convert the codes of a column that names splits to places in SPLITS."""
    unknown = next((label for label in labels if str(label).lower() not in PARTS), None)
    if unknown is not None:
        raise rows.table.refuse(
            f"column {column!r} has {unknown!r}; the names of splits are train, validation and test"
        )
    return np.array([PARTS[str(label).lower()] for label in labels])[codes]


def at_random(count: int, shares: Shares, *, classes: Codes | None, groups: Codes | None) -> Codes:
    """Return (sequences,): places in SPLITS.  Groups stay whole; without groups, splits are stratified by class."""
    random = np.random.default_rng(derive(shares.seed, "arrays", "cut"))
    if groups is not None:
        return _whole_groups(groups, shares, random)
    first = random.permutation(count)
    if classes is None:
        ordered, kept = first, 0
    else:
        ordered = first[np.argsort(classes[first], kind="stable")]
        alone = np.flatnonzero(np.diff(classes[ordered], prepend=-1))  # the first of each class is for training
        ordered = np.concatenate([ordered[alone], np.delete(ordered, alone)])
        kept = len(alone)
    parts = np.zeros(count, dtype=np.int64)
    parts[ordered[kept:]] = _spread(count, count - kept, shares, random)
    return parts


def _spread(count: int, places: int, shares: Shares, random: np.random.Generator) -> Codes:
    """Return (places,): the splits in their shares of `count`, spread evenly, so that neighbours (one class) differ."""
    parts = np.zeros(places, dtype=np.int64)
    test = _every(places, min(round(shares.test * count), places), random)
    rest = np.delete(np.arange(places), test)
    parts[test] = 2
    parts[rest[_every(len(rest), min(round(shares.validation * count), len(rest)), random)]] = 1
    return parts


def _every(places: int, chosen: int, random: np.random.Generator) -> Codes:
    """Return `chosen` of the places, at equal distances from a random start."""
    return np.floor((np.arange(chosen) + random.random()) * places / max(chosen, 1)).astype(np.int64)


def _whole_groups(groups: Codes, shares: Shares, random: np.random.Generator) -> Codes:
    """Assign groups in random order: to test until it has its share of sequences, then to validation, then to train.

    A group more than twice as large as the missing share is for training, unless a split would stay empty.
    """
    sizes = np.bincount(groups)
    part_of, largest = np.zeros(len(sizes), dtype=np.int64), int(np.argmax(sizes))
    wanted = {2: shares.test * len(groups), 1: shares.validation * len(groups)}
    left = dict(wanted)
    for group in random.permutation(len(sizes)):
        for part in left:
            fits = sizes[group] <= 2 * left[part] or (left[part] == wanted[part] and group != largest)
            if left[part] > 0 and fits:
                part_of[group] = part
                left[part] -= sizes[group]
                break
    return part_of[groups]


def in_time(rows: Rows, shares: Shares, *, by_step: bool) -> Codes:
    """Return places in SPLITS by time, the past for training: (rows,) if every step has an answer, else (sequences,).

    A sequence that begins before the start of a later split and ends after it is left out of the earlier split.
    """
    if by_step:
        time = _relative(rows) if rows.time is None else rows.time
        return _parts(time, _boundaries(time, shares))
    begins, ends = _spans(rows)
    first, second = _boundaries(begins, shares)
    parts = _parts(begins, [first, second])
    straddles = ((parts == 0) & (ends >= first)) | ((parts == 1) & (ends >= second))
    return np.where(straddles, LEFT_OUT, parts)


def _parts(time: Codes | Numbers, boundaries: list[Any]) -> Codes:
    return np.asarray(np.sum([time >= boundary for boundary in boundaries], axis=0, dtype=np.int64))


def _boundaries(time: Codes | Numbers, shares: Shares) -> list[Any]:
    """Return the times at which validation and test begin; infinite if nothing is held out."""
    ordered = np.sort(time)
    places = [len(ordered) - round(share * len(ordered)) for share in (shares.validation + shares.test, shares.test)]
    return [ordered[place] if place < len(ordered) else np.inf for place in places]


def _relative(rows: Rows) -> Codes:
    """Return the place of each row in its sequence, in millionths of it, for tables without a time column."""
    steps = np.arange(int(rows.starts[-1])) - np.repeat(rows.starts[:-1], rows.lengths)
    return steps * 1_000_000 // np.repeat(rows.lengths, rows.lengths)


def _spans(rows: Rows) -> tuple[Codes | Numbers, Codes | Numbers]:
    """Return the first and last time of each sequence; for arrays, whose sequences begin at step 0, their order."""
    if rows.time is None or rows.table.roles.get("time") == rows.roles.time:
        order = np.arange(rows.count)
        return order, order
    return rows.time[rows.starts[:-1]], rows.time[rows.starts[1:] - 1]


def whole(rows: Rows, parts: Codes) -> dict[Split, Pieces]:
    """Return the sequences of each split, not cut."""
    return {
        split: Pieces(rows.starts[:-1][parts == place], rows.lengths[parts == place])
        for place, split in enumerate(SPLITS)
    }


def windows(
    rows: Rows, part_of_row: Codes, gaps: npt.NDArray[np.bool_], *, horizon: int, length: int | None
) -> dict[Split, Pieces]:
    """Return windows of at most `length` steps, cut from runs of rows of one split in one sequence without a gap.

    The windows of a run have one size.  gaps: (rows,), whether a run ends before a row.

    The last `horizon` rows of a run are answers and not inputs, so the inputs of a split never contain an answer of
    another.  Rows left over after cutting windows of one size are left out at the start of the run.
    """
    border = (np.diff(part_of_row, prepend=-2) != 0) | gaps
    border[rows.starts[:-1]] = True
    starts = np.flatnonzero(border)
    usable = np.diff(np.append(starts, len(part_of_row))) - horizon
    parts = part_of_row[starts]
    starts, parts, usable = (values[usable > 0] for values in (starts, parts, usable))
    return {split: _cut(starts[parts == place], usable[parts == place], length) for place, split in enumerate(SPLITS)}


def _cut(starts: Codes, usable: Codes, length: int | None) -> Pieces:
    if length is None:
        return Pieces(starts, usable)
    count = -(-usable // length)  # windows of each run
    size = usable // count
    number = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    first = np.repeat(starts + usable - count * size, count) + number * np.repeat(size, count)
    return Pieces(first, np.repeat(size, count))
