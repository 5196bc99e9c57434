"""Encode a user's files as facts and as splits for a network, one column at a time.

A numeric target is centred and scaled by its mean and standard deviation over the training rows.  Classes are those of
the training rows, numbered in the order of their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from harness import SPLITS, Array, Split, cache_folder
from harness_tasks.own import notes
from harness_tasks.own.columns import Codes, Numbers
from harness_tasks.own.facts import Facts
from harness_tasks.own.gaps import longest_usual, note_on
from harness_tasks.own.inputs import Inputs, clocks, encode_inputs
from harness_tasks.own.options import Label, Options, Score
from harness_tasks.own.sources import Source, Sources, layout_of, refuse_too_little, sources_of
from harness_tasks.own.tables import open_table
from harness_tasks.own.targets import (
    answers_of,
    class_floor,
    margin_of,
    number_floor,
    persistence_floor,
    score_of,
)

HELD_OUT: tuple[Split, ...] = ("validation", "test")


def prepared(options: Options) -> Iterator[tuple[str, Array]]:
    """Yield `facts`, and for each split `<split>-inputs` (steps, channels), `<split>-targets`, `<split>-lengths`."""
    with ExitStack() as stack:
        tables = [stack.enter_context(open_table(Path(path), layout_of(options))) for path in options.paths()]
        sources = sources_of(options, tables)
        refuse_too_little(sources)
        folder = Path(stack.enter_context(TemporaryDirectory(dir=cache_folder() / "parsed", prefix=".encode-")))
        answers, classes = _answers(sources)
        inputs = encode_inputs(sources, answers["train"], classes, folder)
        facts = _facts(sources, answers, classes, inputs)
        yield "facts", facts.stored()
        for split in SPLITS:
            yield f"{split}-inputs", inputs.splits[split]
            yield f"{split}-targets", _encoded_answers(answers[split], facts)
            yield f"{split}-lengths", sources.lengths(split)


def _answers(sources: Sources) -> tuple[dict[Split, Numbers | Codes], tuple[Label, ...]]:
    """Return the answers of each split, as numbers or as places in the list of training classes, and these classes."""
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
        for values in numeric.values():
            _refuse_unscalable(sources, numeric["train"], values)
        return numeric, ()
    classes = _classes(sources, raw["train"])
    return {split: _in_classes(sources, parts, classes, split) for split, parts in raw.items()}, classes


def _refuse_unscalable(sources: Sources, train: Numbers, values: Numbers) -> None:
    """Raise DataError if an error of a prediction could not be squared."""
    with np.errstate(all="ignore"):
        error = values - train.mean()
        scaled = (error / train.std()).astype(np.float32)
        # Twice the error: a forecast may be off by the difference of two values.
        possible = np.isfinite(np.square(scaled)) & np.isfinite(np.square(2 * error) * len(values))
    if not possible.all():
        wrong = values[~possible]
        raise sources.table.refuse(
            f"target {sources.roles.target!r} holds {wrong[np.argmax(np.abs(wrong))]:g}, and such numbers are too "
            "large or too close together to be scaled; give the target in another unit, or remove such rows"
        )


def _classes(sources: Sources, train: list[tuple[Source, Codes]]) -> tuple[Label, ...]:
    seen = {source.target.labels[code] for source, codes in train for code in np.unique(codes)}
    classes = tuple(sorted(seen, key=lambda label: (isinstance(label, str), label)))
    if len(classes) < 2:
        raise sources.table.refuse(
            f"target {sources.roles.target!r} has only one class in the training rows, {classes[0]!r}; there is "
            f"nothing to learn{_if_several(sources)}"
        )
    return classes


def _if_several(sources: Sources) -> str:
    """Return another possible reason, for a message, if a file is split in time as one series."""
    if sources.roles.sequence is not None:
        return ""
    return "; the file is read as one series, split in time; if it holds several, say sequence = COLUMN"


def _in_classes(sources: Sources, parts: list[tuple[Source, Codes]], classes: tuple[Label, ...], split: Split) -> Codes:
    place = {label: number for number, label in enumerate(classes)}
    numbers = []
    for source, codes in parts:
        of_label = np.array([place.get(label, -1) for label in source.target.labels])
        unseen = np.flatnonzero(of_label[codes] < 0)
        if len(unseen):
            label = source.target.labels[codes[unseen[0]]]
            raise source.rows.table.refuse(
                f"class {label!r} of target {sources.roles.target!r} is in {split} but not in the training rows; merge "
                f"or remove it, or change the split{_if_several(sources)}"
            )
        numbers.append(of_label[codes])
    return np.concatenate(numbers)


def _facts(sources: Sources, answers: Mapping[Split, Any], classes: tuple[Label, ...], inputs: Inputs) -> Facts:
    options, train, test = sources.options, answers["train"], answers["test"]
    counts = np.bincount(train, minlength=len(classes)) if classes else np.zeros(0, dtype=np.int64)
    try:
        score = score_of(options, sources.kind, counts)
    except ValueError as error:
        raise sources.table.refuse(str(error)) from error
    floors = {split: _floor(sources, score, answers, split, classes) for split in HELD_OUT}
    facts = Facts(
        readout=sources.readout,
        inputs=inputs.names,
        shown=inputs.shown,
        means=inputs.means,
        scales=inputs.scales,
        classes=classes,
        target=str(sources.roles.target),
        target_mean=0.0 if classes else float(train.mean()),
        target_scale=1.0 if classes else float(train.std()),
        sequence=sources.roles.sequence,
        time=sources.roles.time,
        window=sources.window,
        gap=sources.gap,
        longest=max(int(sources.lengths(split).max()) for split in SPLITS),
        sequences={split: len(sources.lengths(split)) for split in SPLITS},
        score=score,
        floor=floors["test"],
        validation_floor=floors["validation"],
        margin=margin_of(options, score, floors["test"]),
        notes=(),
    )
    return facts.model_copy(update={"notes": _notes(sources, facts, counts, inputs, len(test))})


def _notes(sources: Sources, facts: Facts, counts: Codes, inputs: Inputs, answers: int) -> tuple[str, ...]:
    moved = sum(source.rows.moved for source in sources.files)
    rows, cut = sources.files[0].rows, sources.gap is not None
    longest = sources.gap if cut else longest_usual(rows)
    steps = note_on(rows, longest, cut=cut)
    findings = notes.Findings(
        counts=counts,
        indices=tuple(name for name in sources.table.indices() if name not in inputs.names),
        constant=inputs.constant,
        moved=moved,
        clocks=clocks(sources),
        ahead=sources.options.horizon > 0,
        left_out=_left_out(sources),
        answers=answers,
    )
    of_file = (*sources.table.notes, *(() if steps is None else (steps,)))
    return (*notes.of_data(facts, findings), *of_file, *notes.of_copies(inputs.splits, sources.lengths))


def _floor(
    sources: Sources, score: Score, answers: Mapping[Split, Any], split: Split, classes: tuple[Label, ...]
) -> float:
    """Return the score of the best memoryless baseline on a split."""
    train, held_out = answers["train"], answers[split]
    if not classes:
        ahead = sources.options.horizon > 0 and sources.roles.target in sources.roles.inputs
        return number_floor(score, train, held_out, _present(sources, split) if ahead else None)
    if not sources.shows_class:
        return class_floor(score, train, held_out, len(classes))
    place = {label: number for number, label in enumerate(classes)}
    present = {part: _present(sources, part, place) for part in ("train", split)}
    floors = (
        class_floor(score, train, held_out, len(classes)),
        persistence_floor(score, (present["train"], train), (present[split], held_out), len(classes)),
    )
    return min(floors) if score == "log-loss" else max(floors)


def _present(sources: Sources, split: Split, place: Mapping[Label, int] | None = None) -> Any:
    """Return the target at each step of a split, not `horizon` steps ahead.

    place: training class → its number.  If given, numbers of classes are returned, -1 for other classes.
    """
    parts = []
    for source, pieces in sources.of(split):
        values = answers_of(source.target, pieces, "each", 0)
        labels = source.target.labels
        parts.append(values if place is None else np.array([place.get(label, -1) for label in labels])[values])
    return np.concatenate(parts)


def _left_out(sources: Sources) -> int:
    """Return the number of sequences that are in no split."""
    if sources.readout == "each":
        return 0
    return sum(source.rows.count for source in sources.files) - sum(len(sources.lengths(split)) for split in SPLITS)


def _encoded_answers(answers: Any, facts: Facts) -> Array:
    """Return (answers,) int64 classes, or (answers, 1) float32 in standard deviations."""
    if facts.classes:
        return np.asarray(answers, dtype=np.int64)
    scaled: npt.NDArray[np.float32] = ((answers - facts.target_mean) / facts.target_scale).astype(np.float32)
    return scaled[:, None]
