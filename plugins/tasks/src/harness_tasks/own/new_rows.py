"""Encode a user's new rows like the training rows, and convert a network's outputs to the user's values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harness_tasks.own.columns import Coded, Numbers, as_written, coded, numbers
from harness_tasks.own.facts import Facts
from harness_tasks.own.gaps import gaps_in
from harness_tasks.own.inputs import is_of_class
from harness_tasks.own.layout import Table
from harness_tasks.own.options import Label, Options
from harness_tasks.own.rows import Roles, Rows, arrange
from harness_tasks.own.sources import layout_of
from harness_tasks.own.tables import open_table

if TYPE_CHECKING:
    from pandas import DataFrame

PREDICTION = "prediction"


def examples_in(path: Path, options: Options, facts: Facts) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs (steps, channels), zeros as targets, and lengths (sequences,), in the order of sequence names."""
    with open_table(path, layout_of(options)) as table:
        rows = arranged(table, facts)
        inputs = np.empty((table.rows, facts.channels), dtype=np.float32)
        for place, (values, mean, scale) in enumerate(
            zip(_channels(rows, facts), facts.means, facts.scales, strict=True)
        ):
            inputs[:, place] = (values - mean) / scale
        lengths = _pieces(rows, facts)
    answers = len(lengths) if facts.readout == "last" else table.rows
    targets = torch.zeros(answers, dtype=torch.int64) if facts.classes else torch.zeros(answers, 1)
    return torch.from_numpy(inputs), targets, torch.from_numpy(lengths)


def _channels(rows: Rows, facts: Facts) -> Iterator[Numbers]:
    """Yield the input channels, in the order of rows."""
    for name in facts.inputs:
        yield rows.arranged(numbers(rows.table, name, way_out="leave such rows out"))
    if facts.shown:
        present = coded(rows.table, facts.target)
        codes = rows.arranged(present.codes)
        labels = _known_classes(rows.table, present, facts)
        for label in facts.shown:
            yield is_of_class(codes, labels, label)


def _known_classes(table: Table, present: Coded, facts: Facts) -> tuple[Label, ...]:
    """Return the labels of rows as the training data have them.  Raises DataError for a class that training lacks."""
    known, spelt = set(facts.classes), {str(label): label for label in facts.classes}
    # Rows whose classes all spell numbers have numbers as labels, even if other classes in training are text.
    labels = [label if label in known else spelt.get(str(label), label) for label in present.labels]
    for code in np.unique(present.codes):
        if labels[code] not in known:
            raise table.refuse(
                f"column {facts.target!r} holds class {labels[code]!r}, which the training data lack; correct it, "
                "or leave such rows out"
            )
    return tuple(labels)


def answers_in(path: Path, options: Options, facts: Facts, outputs: Tensor) -> DataFrame:
    """Return a line per sequence, in the order of their names; or a line per row, in the order of the file."""
    from pandas import DataFrame  # takes a second to import, and most trials do not predict

    with open_table(path, layout_of(options)) as table:
        rows = arranged(table, facts)
        order = np.arange(table.rows) if rows.order is None else rows.order
        expected = rows.count if facts.readout == "last" else table.rows
        if len(outputs) != expected:
            raise table.refuse(
                f"there are {len(outputs):,} outputs for {expected:,} answers; give the outputs of its examples"
            )
        if facts.readout == "last":
            places, taken = np.arange(rows.count), order[rows.starts[1:] - 1]
            kept = [facts.sequence]
        else:
            places, taken = np.argsort(order), np.arange(table.rows)
            kept = [facts.sequence, facts.time]
        columns: dict[str, Any] = {name: as_written(table, name, taken) for name in kept if name is not None}
    return DataFrame({**columns, **_in_words(outputs.detach().cpu().double()[torch.from_numpy(places)], facts)})


def _in_words(outputs: Tensor, facts: Facts) -> dict[str, Any]:
    if not facts.classes:
        return {PREDICTION: (outputs[:, 0] * facts.target_scale + facts.target_mean).numpy()}
    shares = torch.softmax(outputs, dim=-1)
    chosen = [facts.classes[place] for place in shares.argmax(-1).tolist()]
    return {
        PREDICTION: chosen,
        **{f"probability_{label}": shares[:, k].numpy() for k, label in enumerate(facts.classes)},
    }


def needed_columns(facts: Facts) -> tuple[str, ...]:
    """Return the columns that new rows must have."""
    shown = (facts.target,) if facts.shown else ()
    return (*facts.inputs, *shown, *(name for name in (facts.sequence, facts.time) if name is not None))


def arranged(table: Table, facts: Facts) -> Rows:
    """Return the rows in the order of the training rows; columns without a role are ignored."""
    missing = [name for name in needed_columns(facts) if name not in table.names]
    if missing:
        raise table.refuse(f"lacks {', '.join(map(repr, missing))}, which the training data have; add the column")
    return arrange(table, Roles(facts.inputs, None, facts.sequence, facts.time))


def _pieces(rows: Rows, facts: Facts) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the lengths of sequences, or of windows without a gap that are no longer than in training.

    The sizes of the windows of a run differ by at most one.
    """
    if facts.readout == "last":
        return rows.lengths
    border = gaps_in(rows, facts.gap)
    border[rows.starts[:-1]] = True
    runs = np.diff(np.append(np.flatnonzero(border), len(border)))
    counts = np.ones_like(runs) if facts.window is None else -(-runs // facts.window)
    size, more = runs // counts, runs % counts
    number = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(np.repeat(size, counts) + (number < np.repeat(more, counts)))
