"""A user's files with their columns, order, target and the rows of each split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness import SPLITS, Split
from harness_tasks.own import cuts
from harness_tasks.own.columns import Codes
from harness_tasks.own.cuts import Pieces, Shares
from harness_tasks.own.gaps import gaps_in, longest_usual
from harness_tasks.own.layout import MISSING, Layout, Table
from harness_tasks.own.names import listed
from harness_tasks.own.options import Label, Options
from harness_tasks.own.rows import Roles, Rows, arrange, name_the_target, only_column, refuse_dates, roles_of
from harness_tasks.own.targets import Kind, Readout, Target, kind_of, read_target, readout_of

LEAST: dict[Split, int] = {"train": 10, "validation": 3, "test": 3}
"""Sequences or windows that each split must have."""
WINDOWS = 40
SHORTEST_WINDOW, LONGEST_WINDOW = 5, 100


@dataclass(frozen=True)
class Source:
    """One of the user's files, sorted, with its target and the rows of each split."""

    rows: Rows
    target: Target
    pieces: Mapping[Split, Pieces]


@dataclass(frozen=True)
class Sources:
    """All files of a task, and the decisions about them."""

    options: Options
    kind: Kind
    readout: Readout
    window: int | None
    gap: float | None
    """The longest step inside a window, in median steps of a sequence; None: windows do not end at gaps."""
    files: tuple[Source, ...]

    @property
    def table(self) -> Table:
        return self.files[0].rows.table

    @property
    def roles(self) -> Roles:
        return self.files[0].rows.roles

    @property
    def shows_class(self) -> bool:
        """Whether the present class is an input."""
        options = self.options
        return options.horizon > 0 and self.kind == "classification" and self.roles.target not in listed(options.drop)

    def of(self, split: Split) -> Iterator[tuple[Source, Pieces]]:
        """Yield the files that have rows of a split."""
        for source in self.files:
            if len(source.pieces[split].starts):
                yield source, source.pieces[split]

    def lengths(self, split: Split) -> Codes:
        return np.concatenate([pieces.lengths for _, pieces in self.of(split)] or [np.zeros(0, dtype=np.int64)])


def layout_of(options: Options) -> Layout:
    named = (options.target, *given_roles(options).values(), *listed(options.drop))
    return Layout(
        delimiter=options.delimiter,
        decimal=options.decimal,
        header=options.header,
        time=options.time,
        time_format=options.time_format,
        target=options.target,
        inputs=options.inputs,
        lengths=options.lengths,
        wide=options.wide,
        not_steps=tuple(name for name in named if name is not None),
        keep=listed(options.keep),
        missing=MISSING if options.missing is None else listed(options.missing),
    )


def given_roles(options: Options) -> dict[str, str | None]:
    return {
        "sequence": options.sequence,
        "time": options.time,
        "group": options.group,
        "part": options.split_column,
    }


def sources_of(options: Options, tables: list[Table]) -> Sources:
    first = tables[0]
    target = options.target or only_column(first)
    if target is None:
        raise name_the_target(first)
    given = {**given_roles(options), "target": target}
    roles_of(first, given, drop=listed(options.drop), target_is_input=True)  # reports missing names first
    kind = kind_of(options, first, target)
    ahead = options.horizon > 0
    arranged = []
    for table in tables:
        roles = roles_of(
            table, given, drop=listed(options.drop), target_is_input=ahead, as_class=kind == "classification"
        )
        refuse_dates(table, roles)
        arranged.append(arrange(table, roles))
    _refuse_other_columns(arranged)
    targets = [read_target(rows, target, kind) for rows in arranged]
    readout = readout_of(options, arranged[0], targets[0])
    window = _window(options, arranged[0], readout)
    gap = None if readout == "last" or options.across_gaps else longest_usual(arranged[0])
    parts = _parts(options, arranged, targets, readout)
    pieces = [
        cuts.whole(rows, part)
        if readout == "last"
        else cuts.windows(rows, part, gaps_in(rows, gap), horizon=options.horizon, length=window)
        for rows, part in zip(arranged, parts, strict=True)
    ]
    files = tuple(Source(*parts_of_file) for parts_of_file in zip(arranged, targets, pieces, strict=True))
    return Sources(options, kind, readout, window, gap, files)


def _refuse_other_columns(arranged: list[Rows]) -> None:
    first, *others = arranged
    for rows in others:
        missing = [name for name in first.roles.inputs if name not in rows.table.names]
        if missing:
            raise rows.table.refuse(f"lacks the column {missing[0]!r}, which {first.table.path.name} has")


def _window(options: Options, rows: Rows, readout: Readout) -> int | None:
    if readout == "last":
        return None
    if options.length is None and rows.roles.sequence is None:
        return min(max(rows.table.rows // WINDOWS, SHORTEST_WINDOW), LONGEST_WINDOW)
    return options.length


def _parts(options: Options, arranged: list[Rows], targets: list[Target], readout: Readout) -> list[Codes]:
    """Return for each file the place in SPLITS of each row, or of each sequence if there is one answer per sequence."""
    held_out = [place for place, path in ((1, options.validation_data), (2, options.test_data)) if path is not None]
    others = [np.full(rows.count, place) for rows, place in zip(arranged[1:], held_out, strict=True)]
    parts = [_cut(options, arranged[0], targets[0], readout, held_out), *others]
    _refuse_shared_groups(options, arranged)
    return [
        np.repeat(part, rows.lengths) if readout == "each" and len(part) == rows.count else part
        for part, rows in zip(parts, arranged, strict=True)
    ]


def _cut(options: Options, rows: Rows, target: Target, readout: Readout, held_out: list[int]) -> Codes:
    """Return the cut of the first file, without the splits that have a separate file."""
    shares = Shares(
        0.0 if 1 in held_out else options.validation, 0.0 if 2 in held_out else options.test, options.split_seed
    )
    if options.split_column is not None:
        return _by_column(rows, options.split_column, readout)
    if options.split == "ordered" or (options.split == "auto" and rows.roles.sequence is None):
        if options.group is not None:
            raise rows.table.refuse("is one series, which is split by time; leave out group, or say sequence = COLUMN")
        return cuts.in_time(rows, shares, by_step=readout == "each")
    if rows.roles.sequence is None:
        raise rows.table.refuse(
            "is one series, which can only be split by time; say split = 'ordered', or sequence = COLUMN"
        )
    classes = target.values[rows.starts[1:] - 1] if readout == "last" and target.labels else None
    groups = None if options.group is None else rows.of_sequences(options.group)[0]
    return cuts.at_random(rows.count, shares, classes=classes, groups=groups)  # type: ignore[arg-type]


def _by_column(rows: Rows, column: str, readout: Readout) -> Codes:
    if readout == "last":
        return cuts.by_column(rows, *rows.of_sequences(column), column)
    return cuts.by_row(rows, column)


def _refuse_shared_groups(options: Options, arranged: list[Rows]) -> None:
    """Raise DataError if a group is in two files."""
    if options.group is None:
        return
    seen: dict[Label, Path] = {}
    for rows in arranged:
        for label in rows.of_sequences(options.group)[1]:
            if label in seen:
                raise rows.table.refuse(f"group {label!r} is in {seen[label].name} too; a group must be in one split")
            seen[label] = rows.table.path


def refuse_too_little(sources: Sources) -> None:
    counts = {split: len(sources.lengths(split)) for split in SPLITS}
    short = next((split for split in SPLITS if counts[split] < LEAST[split]), None)
    if short is None:
        return
    rows, windowed = sources.files[0].rows, sources.window is not None
    if rows.roles.sequence is None:
        way_out = "length; if each row is a sequence and its columns are the steps, say wide = true"
    elif sources.readout == "each" and sources.options.split != "ordered":
        way_out = (
            "validation and test; long sequences can be cut in time: split = 'ordered', length = STEPS of a window"
        )
    else:
        way_out = "length" if windowed else "validation and test"
    what = f"windows of {sources.window} steps" if windowed else "sequences"
    has = ", ".join(
        f"{count:,} to {verb}" for count, verb in zip(counts.values(), ("train", "select", "test"), strict=True)
    )
    raise rows.table.refuse(
        f"too little data: {rows.table.rows:,} rows make {has} ({what}); at least "
        f"{', '.join(str(count) for count in LEAST.values())} are needed. Add rows, or change {way_out}"
    )
