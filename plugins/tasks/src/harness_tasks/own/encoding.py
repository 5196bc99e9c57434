"""A user's files → facts and splits as a network reads them, a column at a time.

Every input is centred and scaled by its mean and standard deviation over the training rows, as is a numeric target;
classes are numbered in the order of their names, of the training rows alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from harness import SPLITS, Array, Split, cache_folder
from harness_tasks.own import notes
from harness_tasks.own.columns import Codes, Numbers, numbers
from harness_tasks.own.facts import Facts
from harness_tasks.own.leaks import leaks
from harness_tasks.own.options import Label, Options, Score
from harness_tasks.own.rows import listed
from harness_tasks.own.sources import Source, Sources, layout_of, refuse_too_little, sources_of
from harness_tasks.own.tables import open_table
from harness_tasks.own.targets import answers_of, class_floor, margin_of, number_floor, score_of

FLAT = 1e-12
"""Standard deviation over size of the mean, below which a column is constant but for rounding."""


def prepared(options: Options) -> Iterator[tuple[str, Array]]:
    """`facts`, and for each split `<split>-inputs` (steps, channels), `<split>-targets` and `<split>-lengths`."""
    with ExitStack() as stack:
        tables = [stack.enter_context(open_table(Path(path), layout_of(options))) for path in options.paths()]
        sources = sources_of(options, tables)
        refuse_too_little(sources)
        folder = Path(stack.enter_context(TemporaryDirectory(dir=cache_folder() / "parsed", prefix=".encode-")))
        answers, classes = _answers(sources)
        inputs = _encode_inputs(sources, answers, len(classes), folder)
        facts = _facts(sources, answers, classes, inputs)
        yield "facts", facts.stored()
        for split in SPLITS:
            yield f"{split}-inputs", inputs.splits[split]
            yield f"{split}-targets", _encoded_answers(answers[split], facts)
            yield f"{split}-lengths", sources.lengths(split)


def _answers(sources: Sources) -> tuple[dict[Split, Numbers | Codes], tuple[Label, ...]]:
    """Of each split: numbers, or places in the list of training classes."""
    raw: dict[Split, list[tuple[Source, Any]]] = {
        split: [
            (source, answers_of(source.target, pieces, sources.readout, sources.options.horizon))
            for source, pieces in sources.of(split)
        ]
        for split in SPLITS
    }
    if sources.kind == "regression":
        numeric = {split: np.concatenate([values for _, values in parts]) for split, parts in raw.items()}
        if numeric["train"].min() == numeric["train"].max():
            value = f"{numeric['train'][0]:g}"
            raise sources.table.refuse(
                f"target {sources.roles.target!r} is {value} in all training rows; there is nothing to learn"
            )
        return numeric, ()
    classes = _classes(sources, raw["train"])
    return {split: _in_classes(sources, parts, classes, split) for split, parts in raw.items()}, classes


def _classes(sources: Sources, train: list[tuple[Source, Codes]]) -> tuple[Label, ...]:
    seen = {source.target.labels[code] for source, codes in train for code in np.unique(codes)}
    classes = tuple(sorted(seen, key=lambda label: (isinstance(label, str), label)))
    if len(classes) < 2:
        raise sources.table.refuse(
            f"target {sources.roles.target!r} has one class only in the training rows, {classes[0]!r}; there is "
            f"nothing to tell apart{_if_several(sources)}"
        )
    return classes


def _if_several(sources: Sources) -> str:
    """What else may be wrong where a file is cut in time as one series."""
    if sources.roles.sequence is not None:
        return ""
    return "; the file is read as one series, cut in time: if it holds several, say sequence = COLUMN"


def _in_classes(sources: Sources, parts: list[tuple[Source, Codes]], classes: tuple[Label, ...], split: Split) -> Codes:
    place = {label: number for number, label in enumerate(classes)}
    found = []
    for source, codes in parts:
        of_label = np.array([place.get(label, -1) for label in source.target.labels])
        unseen = np.flatnonzero(of_label[codes] < 0)
        if len(unseen):
            label = source.target.labels[codes[unseen[0]]]
            raise source.rows.table.refuse(
                f"class {label!r} of target {sources.roles.target!r} is in {split} and not in the training rows; merge "
                f"or remove it, or split otherwise{_if_several(sources)}"
            )
        found.append(of_label[codes])
    return np.concatenate(found)


@dataclass(frozen=True)
class Inputs:
    """What the network sees."""

    names: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    constant: tuple[str, ...]
    """Columns that were left out, as they say nothing in the training rows."""
    splits: Mapping[Split, npt.NDArray[np.float32]]
    """(steps, channels), in files."""


def _encode_inputs(sources: Sources, answers: Mapping[Split, Any], classes: int, folder: Path) -> Inputs:
    names = sources.roles.inputs
    steps = {split: int(sources.lengths(split).sum()) for split in SPLITS}
    splits = {
        split: np.lib.format.open_memmap(folder / f"{split}.npy", "w+", np.float32, (steps[split], len(names)))
        for split in SPLITS
    }
    taken = {split: [(source, pieces.rows()) for source, pieces in sources.of(split)] for split in SPLITS}
    target = _at_each_step(sources, answers["train"])
    kept: list[tuple[str, float, float]] = []
    for name in names:
        columns = {id(source): _column(source, name) for source in sources.files}
        train = np.concatenate([columns[id(source)][rows] for source, rows in taken["train"]])
        mean, scale = float(train.mean()), float(train.std())
        if scale <= FLAT * abs(mean):
            continue
        if name != sources.roles.target:
            _refuse_leak(sources, name, train, target, classes)
        for split in SPLITS:
            values = np.concatenate([columns[id(source)][rows] for source, rows in taken[split]])
            splits[split][:, len(kept)] = (values - mean) / scale
        kept.append((name, mean, scale))
    if not kept:
        raise sources.table.refuse(f"every input is constant in the training rows: {', '.join(names)}")
    inputs, means, scales = zip(*kept, strict=True)
    constant = tuple(name for name in names if name not in inputs)
    return Inputs(inputs, means, scales, constant, {split: array[:, : len(kept)] for split, array in splits.items()})


def _column(source: Source, name: str) -> Numbers:
    """A column in the order of rows; the target's own numbers are at hand."""
    if name == source.rows.roles.target and not source.target.labels:
        return source.target.values  # type: ignore[return-value]
    return source.rows.arranged(numbers(source.rows.table, name, way_out=f"leave the column out: drop = {name!r}"))


def _at_each_step(sources: Sources, answers: Any) -> Any:
    """Training answers beside the training rows: an answer a sequence stands at each of its steps."""
    return np.repeat(answers, sources.lengths("train")) if sources.readout == "last" else answers


def _refuse_leak(sources: Sources, name: str, train: Numbers, target: Any, classes: int) -> None:
    if name in listed(sources.options.keep) or sources.roles.target is None:
        return
    how = leaks(name, train, sources.roles.target, target, classes=classes, by_name=sources.options.horizon == 0)
    if how is not None:
        raise sources.table.refuse(
            f"column {name!r} {how}, so the answer would be among the inputs; leave it out: drop = {name!r}, or if it "
            f"is known beforehand, keep = {name!r}"
        )


def _facts(sources: Sources, answers: Mapping[Split, Any], classes: tuple[Label, ...], inputs: Inputs) -> Facts:
    options, train, test = sources.options, answers["train"], answers["test"]
    counts = np.bincount(train, minlength=len(classes)) if classes else np.zeros(0, dtype=np.int64)
    try:
        score = score_of(options, sources.kind, counts)
    except ValueError as error:
        raise sources.table.refuse(str(error)) from error
    floors = {split: _floor(sources, score, answers, split, len(classes)) for split in ("validation", "test")}
    facts = Facts(
        readout=sources.readout,
        inputs=inputs.names,
        means=inputs.means,
        scales=inputs.scales,
        classes=classes,
        target=str(sources.roles.target),
        target_mean=0.0 if classes else float(train.mean()),
        target_scale=1.0 if classes else float(train.std()),
        sequence=sources.roles.sequence,
        time=sources.roles.time,
        window=sources.window,
        longest=max(int(sources.lengths(split).max()) for split in SPLITS),
        sequences={split: len(sources.lengths(split)) for split in SPLITS},
        score=score,
        floor=floors["test"],
        validation_floor=floors["validation"],
        margin=margin_of(options, score, floors["test"]),
        notes=(),
    )
    moved = sum(source.rows.moved for source in sources.files)
    findings = notes.Findings(
        counts=counts,
        indices=tuple(name for name in sources.table.indices() if name not in inputs.names),
        constant=inputs.constant,
        moved=moved,
        clocks=_clocks(sources),
        ahead=sources.options.horizon > 0,
        left_out=_left_out(sources),
        answers=len(test),
    )
    found = notes.of_data(facts, findings)
    return facts.model_copy(update={"notes": (*found, *notes.of_copies(inputs.splits, sources.lengths))})


def _floor(sources: Sources, score: Score, answers: Mapping[Split, Any], split: Split, classes: int) -> float:
    """Return the score of a memoryless baseline on a split."""
    if classes:
        return class_floor(score, answers["train"], answers[split], classes)
    return number_floor(score, answers["train"], answers[split], _present(sources, split))


def _present(sources: Sources, split: Split) -> Numbers | None:
    """The target at each step of a split itself, where it is an input and the answer lies ahead."""
    if not sources.options.horizon or sources.roles.target not in sources.roles.inputs:
        return None
    return np.concatenate([answers_of(source.target, pieces, "each", 0) for source, pieces in sources.of(split)])


def _clocks(sources: Sources) -> tuple[str, ...]:
    """Inputs that grow from each row of one series to the next, as times do, where no column is named as such."""
    if sources.roles.sequence is not None or sources.roles.time is not None:
        return ()
    source = sources.files[0]
    return tuple(
        name
        for name in sources.roles.inputs
        if name != sources.roles.target and bool((np.diff(_column(source, name)) > 0).all())
    )


def _left_out(sources: Sources) -> int:
    """Sequences that stand in no split."""
    if sources.readout == "each":
        return 0
    return sum(source.rows.count for source in sources.files) - sum(len(sources.lengths(split)) for split in SPLITS)


def _encoded_answers(answers: Any, facts: Facts) -> Array:
    """(answers,) int64 classes, or (answers, 1) float32 in standard deviations."""
    if facts.classes:
        return np.asarray(answers, dtype=np.int64)
    scaled: npt.NDArray[np.float32] = ((answers - facts.target_mean) / facts.target_scale).astype(np.float32)
    return scaled[:, None]
