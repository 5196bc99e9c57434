"""The target of a user's table: classes or numbers, one answer per sequence or per step, and the floor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness_tasks.own.columns import DECIMAL_COMMA, Codes, Numbers, coded, holds_text, numbers
from harness_tasks.own.cuts import Pieces
from harness_tasks.own.layout import Table
from harness_tasks.own.options import MOST_COUNTED, Label, Options, Score
from harness_tasks.own.rows import Rows

Kind = Literal["classification", "regression"]
Readout = Literal["last", "each"]

MOST_CLASSES_OF_NUMBERS = 20
"""Most different whole numbers that are read as classes."""
MOST_CLASSES = 1000
IMBALANCE = 3.0
"""Largest ratio of two class counts at which accuracy ranks."""
ACCURACY_MARGIN = 1.0
"""Margin of an accuracy, in percentage points."""
FLOOR_MARGIN = 0.02
"""Margin of any other score, as a fraction of the floor."""
WAY_OUT = "give another target"


@dataclass(frozen=True)
class Target:
    """A target in the order of `Rows`: numbers, or codes of labels."""

    values: Numbers | Codes
    labels: tuple[Label, ...] = ()
    """Empty if the values are numbers."""


def kind_of(options: Options, table: Table, name: str) -> Kind:
    if options.kind != "auto":
        return options.kind
    if holds_text(table, name):
        _refuse_decimal_commas(table, name)
        return "classification"
    values = np.unique(numbers(table, name, way_out=WAY_OUT))
    few = len(values) <= min(MOST_CLASSES_OF_NUMBERS, max(table.rows // 10, 2))
    return "classification" if few and bool((values == np.round(values)).all()) else "regression"


def _refuse_decimal_commas(table: Table, name: str) -> None:
    labels = [label for label in coded(table, name).labels if isinstance(label, str)]
    if labels and all(map(DECIMAL_COMMA.fullmatch, labels)):
        raise table.refuse(
            f"target {name!r} holds text, as {labels[0]!r}; if its numbers have a decimal comma, say decimal = ','; if "
            "it is the name of a class, kind = 'classification'"
        )


def read_target(rows: Rows, name: str, kind: Kind) -> Target:
    if kind == "regression":
        return Target(rows.arranged(numbers(rows.table, name, way_out=WAY_OUT)))
    column = coded(rows.table, name)
    if len(column.labels) > MOST_CLASSES:
        raise rows.table.refuse(
            f"target {name!r} has {len(column.labels):,} different values, which is too many for classes; "
            "say kind = 'regression' if they are numbers"
        )
    return Target(rows.arranged(column.codes), column.labels)


def readout_of(options: Options, rows: Rows, target: Target) -> Readout:
    """Return the readout; auto: one answer per sequence if each has the same target in all rows, else one per step."""
    if options.readout == "auto":
        first = np.repeat(target.values[rows.starts[:-1]], rows.lengths)
        same = rows.roles.sequence is not None and options.horizon == 0 and bool((target.values == first).all())
        return "last" if same else "each"
    if options.readout == "last" and rows.roles.sequence is None:
        raise rows.table.refuse(
            "is one series, so readout = 'last' has one answer; say sequence = COLUMN, or leave out readout"
        )
    if options.readout == "last" and options.horizon:
        raise rows.table.refuse(
            "readout = 'last' has no later step to predict; leave out horizon, or say readout = 'each'"
        )
    return options.readout


def answers_of(target: Target, pieces: Pieces, readout: Readout, horizon: int) -> Numbers | Codes:
    """Return the target of each sequence at its last row, or of each step `horizon` rows later."""
    rows = pieces.starts + pieces.lengths - 1 if readout == "last" else pieces.rows() + horizon
    answers: Numbers | Codes = target.values[rows]
    return answers


def score_of(options: Options, kind: Kind, counts: Codes) -> Score:
    """Return the metric that ranks.  counts: training answers of each class."""
    balanced: tuple[Score, ...] = ("balanced-accuracy",) if len(counts) <= MOST_COUNTED else ()
    possible: tuple[Score, ...] = ("rmse", "mae") if kind == "regression" else ("accuracy", "log-loss", *balanced)
    if options.score == "auto":
        uneven = kind == "classification" and counts.max() > IMBALANCE * counts.min()
        return balanced[0] if uneven and balanced else possible[0]
    if options.score not in possible:
        raise ValueError(f"score = {options.score!r} is not a metric of a {kind}; use one of {', '.join(possible)}")
    return options.score


def class_floor(score: Score, train: Codes, test: Codes, classes: int) -> float:
    """Return the score of always answering the most common training class.

    For the log loss, it is the score of the training frequencies (n + 1/2) / (N + K/2).
    """
    counts = np.bincount(train, minlength=classes)
    if score == "log-loss":
        shares = (counts + 0.5) / (len(train) + classes / 2)
        return float(-np.log(shares[test]).mean())
    answer = int(np.argmax(counts))
    if score == "accuracy":
        return float(100 * (test == answer).mean())
    return float(100 * (answer in test) / len(np.unique(test)))


def persistence_floor(score: Score, train: tuple[Codes, Codes], test: tuple[Codes, Codes], classes: int) -> float:
    """Return the score of predicting the present class.  train, test: present classes and answers.

    For the log loss, the class stays with the training share (n + 1/2) / (N + 1), and all other classes are equally
    likely.
    """
    present, answers = test
    right = present == answers
    if score == "accuracy":
        return float(100 * right.mean())
    if score == "log-loss":
        stays = (np.sum(train[0] == train[1]) + 0.5) / (len(train[0]) + 1)
        return float(-np.log(np.where(right, stays, (1 - stays) / (classes - 1))).mean())
    return float(100 * np.mean([right[answers == number].mean() for number in np.unique(answers)]))


def number_floor(score: Score, train: Numbers, test: Numbers, present: Numbers | None) -> float:
    """Return the better score of two answers: a constant (training mean or median), and the present value if it is an
    input."""
    constant = np.mean(train) if score == "rmse" else np.median(train)
    answers: list[npt.NDArray[np.float64]] = [np.full(len(test), constant), *([] if present is None else [present])]
    errors = [test - answer for answer in answers]
    if score == "rmse":
        return float(min(np.sqrt(np.mean(np.square(error))) for error in errors))
    return float(min(np.mean(np.abs(error)) for error in errors))


def margin_of(options: Options, score: Score, floor: float) -> float:
    if options.margin is not None:
        return options.margin
    return ACCURACY_MARGIN if score in ("accuracy", "balanced-accuracy") else FLOOR_MARGIN * floor
