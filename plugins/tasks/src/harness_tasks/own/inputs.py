"""The inputs of a network from a user's files: columns and the present class, scaled over the training rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness import SPLITS, Split
from harness_tasks.own.columns import Codes, Numbers, numbers
from harness_tasks.own.leaks import leaks
from harness_tasks.own.names import all_shown, as_list, listed
from harness_tasks.own.options import MOST_COUNTED, Label
from harness_tasks.own.sources import Source, Sources

FLAT = 1e-12
"""Ratio of standard deviation to mean below which a column is constant except for rounding."""


@dataclass(frozen=True)
class Inputs:
    """The encoded inputs."""

    names: tuple[str, ...]
    """Columns, in the order of the channels."""
    shown: tuple[Label, ...]
    """Present classes; their channels follow those of the columns."""
    means: tuple[float, ...]
    scales: tuple[float, ...]
    constant: tuple[str, ...]
    """Columns that are left out because they are constant in the training rows."""
    splits: Mapping[Split, npt.NDArray[np.float32]]
    """Split → (steps, channels), memory-mapped files."""


@dataclass(frozen=True)
class _Channel:
    """A column, or one of the present classes if `name` is None."""

    name: str | None
    label: Label = 0

    def of(self, source: Source) -> Numbers:
        """Return its value in each row, in the order of `Rows`."""
        if self.name is None:
            return is_of_class(source.target.values, source.target.labels, self.label)
        return _column(source, self.name)


def is_of_class(codes: Any, labels: tuple[Label, ...], label: Label) -> Numbers:
    """Return (rows,): 1.0 for a row of the class, else 0.0."""
    return np.asarray(codes == labels.index(label) if label in labels else np.zeros(len(codes)), dtype=np.float64)


def encode_inputs(sources: Sources, train: Any, classes: tuple[Label, ...], folder: Path) -> Inputs:
    """Centre and scale the inputs.  train: answers of the training rows."""
    channels = [_Channel(name) for name in sources.roles.inputs]
    channels += [_Channel(None, label) for label in _shown(sources, train, classes)]
    taken = {split: [(source, pieces.rows()) for source, pieces in sources.of(split)] for split in SPLITS}
    splits = {
        split: np.lib.format.open_memmap(
            folder / f"{split}.npy", "w+", np.float32, (int(sources.lengths(split).sum()), len(channels))
        )
        for split in SPLITS
    }
    target = np.repeat(train, sources.lengths("train")) if sources.readout == "last" else train  # at each step
    kept: list[tuple[_Channel, float, float]] = []
    for channel in channels:
        of_rows = {id(source): channel.of(source) for source in sources.files}
        values = {
            split: np.concatenate([of_rows[id(source)][rows] for source, rows in taken[split]]) for split in SPLITS
        }
        mean, scale = _moments(sources, channel, values["train"])
        if scale <= FLAT * abs(mean):
            continue
        if channel.name not in (None, sources.roles.target):
            _refuse_leak(sources, str(channel.name), values["train"], target, len(classes))
        for split in SPLITS:
            splits[split][:, len(kept)] = _scaled(sources, channel, values[split], mean, scale)
        kept.append((channel, mean, scale))
    return _inputs(sources, kept, {split: array[:, : len(kept)] for split, array in splits.items()})


def _inputs(
    sources: Sources, kept: list[tuple[_Channel, float, float]], splits: Mapping[Split, npt.NDArray[np.float32]]
) -> Inputs:
    if not kept:
        raise sources.table.refuse(
            f"every input is constant in the training rows: {all_shown(sources.roles.inputs) or 'the present class'}"
        )
    names = tuple(channel.name for channel, _, _ in kept if channel.name is not None)
    return Inputs(
        names,
        tuple(channel.label for channel, _, _ in kept if channel.name is None),
        tuple(mean for _, mean, _ in kept),
        tuple(scale for _, _, scale in kept),
        tuple(name for name in sources.roles.inputs if name not in names),
        splits,
    )


def _shown(sources: Sources, train: Codes, classes: tuple[Label, ...]) -> tuple[Label, ...]:
    """Return the present classes that are inputs of a forecast: all, or the most common ones if there are many."""
    if not sources.shows_class:
        return ()
    commonest = np.argsort(-np.bincount(train, minlength=len(classes)), kind="stable")[:MOST_COUNTED]
    return tuple(classes[place] for place in np.sort(commonest))


def _moments(sources: Sources, channel: _Channel, train: Numbers) -> tuple[float, float]:
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(train.mean()), float(train.std())
    if not (np.isfinite(mean) and np.isfinite(scale)):
        raise _too_large(sources, channel, float(np.abs(train).max()))
    return mean, scale


def _scaled(sources: Sources, channel: _Channel, values: Numbers, mean: float, scale: float) -> Any:
    with np.errstate(over="ignore"):
        scaled = ((values - mean) / scale).astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(scaled))
    if len(wrong):
        raise _too_large(sources, channel, float(values[wrong[0]]))
    return scaled


def _too_large(sources: Sources, channel: _Channel, value: float) -> Exception:
    name = str(channel.name)
    return sources.table.refuse(
        f"column {name!r} holds {value:g}, which is too large to be scaled with its other values; remove such rows, "
        f"or leave the column out: drop = {as_list(name)}"
    )


def _column(source: Source, name: str) -> Numbers:
    """Return a column in the order of rows."""
    if name == source.rows.roles.target and not source.target.labels:
        return source.target.values  # type: ignore[return-value]
    return source.rows.arranged(
        numbers(source.rows.table, name, way_out=f"leave the column out: drop = {as_list(name)}")
    )


def _refuse_leak(sources: Sources, name: str, train: Numbers, target: Any, classes: int) -> None:
    if name in listed(sources.options.keep) or sources.roles.target is None:
        return
    how = leaks(name, train, sources.roles.target, target, classes=classes, by_name=sources.options.horizon == 0)
    if how is not None:
        raise sources.table.refuse(
            f"column {name!r} {how}, so the answer would be among the inputs; leave it out: drop = {as_list(name)}, or "
            f"if it is known beforehand, keep = {as_list(name)}"
        )


def clocks(sources: Sources) -> tuple[str, ...]:
    """Return inputs that grow from row to row, as times do, if no column is named as `time`."""
    if sources.roles.sequence is not None or sources.roles.time is not None:
        return ()
    source = sources.files[0]
    return tuple(
        name
        for name in sources.roles.inputs
        if name != sources.roles.target and bool((np.diff(_column(source, name)) > 0).all())
    )
