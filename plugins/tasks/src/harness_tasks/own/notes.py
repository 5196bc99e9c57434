"""Notes for the user about the data, one line each, before a model is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness import Split
from harness_tasks.own.columns import Codes
from harness_tasks.own.facts import Facts
from harness_tasks.own.names import all_shown, shown
from harness_tasks.own.targets import IMBALANCE

FEW = 100
"""Number of test answers below which a note says that scores are rough."""
MOST_COMPARED = 200_000
"""Most sequences that are compared for copies."""


@dataclass(frozen=True)
class Findings:
    """Observations made while the data were read."""

    counts: Codes
    """Training answers of each class."""
    indices: tuple[str, ...]
    """Columns that number the rows."""
    constant: tuple[str, ...]
    """Columns that are constant in training."""
    moved: int
    """Sequences whose rows were not in the order of time."""
    clocks: tuple[str, ...]
    """Inputs that only grow."""
    ahead: bool
    """Whether the target is later than its inputs."""
    left_out: int
    """Sequences that continue into a later split."""
    answers: int
    """Answers of the test split."""


def of_data(facts: Facts, findings: Findings) -> Iterator[str]:
    """Yield the notes about the data, one line each."""
    counts, answers = findings.counts, findings.answers
    yield _read_as(facts)
    if findings.indices:
        yield f"row numbers, left out: {', '.join(map(repr, findings.indices))}"
    if findings.constant:
        yield f"constant in the training rows, left out: {all_shown(findings.constant)}"
    if findings.clocks:
        clocks = all_shown(findings.clocks)
        yield f"an input grows from row to row, as a time does: {clocks}; if so, say time = {findings.clocks[0]!r}"
    if facts.sequence is None and not facts.classes and not findings.ahead:
        what = f"{shown(facts.target)} is predicted at the step of its inputs"
        yield f"no forecast: {what}; horizon = 1 predicts the next one"
    if findings.moved:
        where = f"{findings.moved:,} of the sequences are" if facts.sequence is not None else "the file is"
        yield f"rows of {where} not in the order of {shown(str(facts.time))}: sorted"
    if findings.left_out:
        yield f"{findings.left_out:,} sequences continue into a later split: left out of the earlier one"
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
    when = "one answer per sequence" if facts.readout == "last" else "one answer per step"
    cut = "sequences" if facts.window is None else f"windows of up to {facts.window} steps"
    counts = ", ".join(f"{facts.sequences[split]:,} {split}" for split in ("train", "validation", "test"))
    inputs = f"{len(facts.inputs)} inputs" + (" and its present class" if facts.shown else "")
    return f"target {shown(facts.target)} is read as {what}, {when}, from {inputs}; {cut}: {counts}"


def of_copies(splits: Mapping[Split, npt.NDArray[np.float32]], lengths: Callable[[Split], Codes]) -> tuple[str, ...]:
    """Return a note for each split with held-out sequences that are also in the training data."""
    if sum(len(lengths(split)) for split in splits) > MOST_COMPARED:
        return ()
    train = set(_hashes(splits["train"], lengths("train")))
    lines = []
    for split in ("validation", "test"):
        hashes = _hashes(splits[split], lengths(split))
        copies = sum(value in train for value in hashes)
        if copies:
            lines.append(
                f"{copies:,} of {len(hashes):,} {split} sequences are also in the training data, value for value; a "
                "score on them measures memory"
            )
    return tuple(lines)


def _hashes(inputs: npt.NDArray[np.float32], lengths: Codes) -> list[int]:
    ends = np.cumsum(lengths)
    return [hash(inputs[end - length : end].tobytes()) for end, length in zip(ends, lengths, strict=True)]
