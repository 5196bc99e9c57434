"""What a user should know of their data before a model is trained, a line each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from harness import Split
from harness_tasks.own.columns import Codes
from harness_tasks.own.facts import Facts
from harness_tasks.own.names import all_shown, shown
from harness_tasks.own.targets import IMBALANCE

FEW = 100
"""Test answers, below which a score is told to be rough."""
MOST_COMPARED = 200_000
"""Sequences that are compared for copies."""


def of_data(
    facts: Facts,
    counts: Codes,
    *,
    indices: tuple[str, ...],
    constant: tuple[str, ...],
    moved: int,
    clocks: tuple[str, ...],
    ahead: bool,
    left_out: int,
    answers: int,
) -> Iterator[str]:
    """counts: training answers of each class.  moved, left_out: sequences.  clocks: inputs that only grow.
    ahead: whether the target is asked for ahead.  answers: of the test."""
    yield _read_as(facts)
    if indices:
        yield f"numbers of rows and left out: {', '.join(map(repr, indices))}"
    if constant:
        yield f"constant in the training rows and left out: {all_shown(constant)}"
    if clocks:
        yield f"an input grows from row to row, as a time does: {all_shown(clocks)}; if so, say time = {clocks[0]!r}"
    if facts.sequence is None and not facts.classes and not ahead:
        what = f"{shown(facts.target)} is asked for at the step of its inputs"
        yield f"no forecast: {what}; horizon = 1 asks for the next one"
    if moved:
        where = f"{moved:,} of the sequences are" if facts.sequence is not None else "the file is"
        yield f"rows of {where} not in the order of {shown(str(facts.time))}: sorted"
    if left_out:
        yield f"{left_out:,} sequences go on after a later split has begun: left out of the earlier one"
    if len(counts) and counts.max() > IMBALANCE * counts.min():
        most, least = facts.classes[int(np.argmax(counts))], facts.classes[int(np.argmin(counts))]
        ranks = f"{facts.score} ranks" + ("" if facts.score != "accuracy" else "; balanced-accuracy would be fairer")
        yield (
            f"classes are not balanced: {counts.max():,} training answers are {most!r} and {counts.min():,} {least!r}; "
            f"{ranks}"
        )
    if answers < FEW:
        error = f", known to within {100 * 2 * 0.5 / np.sqrt(answers):.0f} points" if facts.classes else ""
        yield f"the test has {answers} answers: a score on them is rough{error}"


def _read_as(facts: Facts) -> str:
    what = f"{len(facts.classes)} classes" if facts.classes else "numbers"
    when = "one answer a sequence" if facts.readout == "last" else "one answer a step"
    cut = "sequences" if facts.window is None else f"windows of up to {facts.window} steps"
    counts = ", ".join(f"{facts.sequences[split]:,} {split}" for split in ("train", "validation", "test"))
    inputs = f"{len(facts.inputs)} inputs" + (" and its present class" if facts.shown else "")
    return f"target {shown(facts.target)} is read as {what}, {when}, from {inputs}; {cut}: {counts}"


def of_copies(splits: Mapping[Split, npt.NDArray[np.float32]], lengths: Callable[[Split], Codes]) -> tuple[str, ...]:
    """Held-out sequences that stand in the training data too."""
    if sum(len(lengths(split)) for split in splits) > MOST_COMPARED:
        return ()
    train = set(_hashes(splits["train"], lengths("train")))
    found = []
    for split in ("validation", "test"):
        hashes = _hashes(splits[split], lengths(split))
        copies = sum(value in train for value in hashes)
        if copies:
            found.append(
                f"{copies:,} of {len(hashes):,} {split} sequences stand in the training data, value for value; a score "
                "on them is of memory"
            )
    return tuple(found)


def _hashes(inputs: npt.NDArray[np.float32], lengths: Codes) -> list[int]:
    ends = np.cumsum(lengths)
    return [hash(inputs[end - length : end].tobytes()) for end, length in zip(ends, lengths, strict=True)]
