"""The answer of races at several sizes as a page: a sentence per size, then the smallest size that suffices."""

from __future__ import annotations

from harness.analysis.sign_test import MINIMUM_PAIRS
from harness.analysis.statistics import Interval
from harness.recommendation.page import brief
from harness.recommendation.sizes import AtSize, SizesAnswer
from harness.report.document import NOTHING, Datum, Heading, Notes, Paragraph, Table
from harness.report.formatting import count, listed, mean_interval, of_count, of_number
from harness.report.writers import markdown


def page(answer: SizesAnswer) -> str:
    """Return the page as Markdown."""
    *by_size, smallest = sentences(answer)
    title = Heading(f"{answer.sizes[0].recommendation.cell}: {len(answer.sizes)} sizes", 1)
    notes = [Notes(reading)] if (reading := _reading(answer)) else []
    return markdown.render([title, Notes(tuple(by_size)), Paragraph(smallest), _table(answer), *notes])


def sentences(answer: SizesAnswer) -> list[str]:
    """Return a line per size, in ascending order, and a last one about the smallest size that suffices."""
    by_size = [f"{count(size.parameters)} parameters: {brief(size.recommendation)}" for size in answer.sizes]
    return [*by_size, _smallest(answer)]


def _smallest(answer: SizesAnswer) -> str:
    if answer.best is None or answer.smallest is None:
        return "No size has a recommendation."
    best = f"{count(answer.best)} parameters have the best mean test {answer.metric.name}"
    if answer.smallest < answer.best:
        found = f"the smallest size that is equivalent is {count(answer.smallest)} parameters"
    elif answer.best == answer.sizes[0].parameters:
        found = "this is the smallest size"
    else:
        found = "no smaller size is known to be equivalent"
    inconclusive = listed([count(size) for size in answer.undecided])
    few = f" ({answer.repetitions} paired repetitions; {MINIMUM_PAIRS} are needed)"
    why = few if answer.repetitions < MINIMUM_PAIRS else ""
    return f"{best}; {found}{f'; inconclusive: {inconclusive}{why}' if inconclusive else ''}."


def _table(answer: SizesAnswer) -> Table:
    name = f"test {answer.metric.name}" + (f", {answer.metric.unit}" if answer.metric.unit else "")
    header = ("budget", "model", "verdict", f"{name} (mean, 95 % CI)", "compared with best size", "repetitions",
              "parameters", "training time (s)", "study")  # fmt: skip
    return Table(header, tuple(_row(size, smallest=answer.smallest) for size in answer.sizes))


def _row(size: AtSize, *, smallest: int | None) -> tuple[Datum, ...]:
    answer, first = size.recommendation, size.recommendation.candidates[0]
    interval = Interval(first.interval.low, first.interval.high, 0.95) if first.interval is not None else None
    return (
        Datum(count(size.parameters), size.parameters, strong=size.parameters == smallest),
        Datum(size.model or NOTHING),
        Datum(answer.verdict),
        Datum(mean_interval(first.mean, interval) if first.mean is not None else NOTHING, first.mean),
        Datum("best" if size.place == "leader" else size.place),
        of_count(first.repetitions),
        of_count(first.parameters),
        of_number(first.seconds),
        Datum(answer.study),
    )


def _reading(answer: SizesAnswer) -> tuple[str, ...]:
    if answer.best is None:
        return ()
    notes = [
        f"Sizes are compared as models are in a race, on the {count(answer.repetitions)} paired repetitions that all "
        "have. equivalent: the whole interval of the mean difference is within the task's margin. lost: clearly "
        "worse. open: neither. The model of a size is the recommended one, or the leader if the race is inconclusive.",
        "bold: the smallest size that is the best or equivalent to it.",
    ]
    updates = {count(size.parameters): count(size.recommendation.updates) for size in answer.sizes}
    if len(set(updates.values())) > 1:
        listed = ", ".join(f"{own} at {size} parameters" for size, own in updates.items())
        notes.append(f"The sizes train for different numbers of updates, each as its time permits: {listed}.")
    if answer.metric.margin == 0:
        notes.append("The task states no margin, so no size is called equivalent.")
    return tuple(notes)


def line_of(size: AtSize) -> dict[str, object]:
    """Return a size as a line of the data frame: see `harness.workflow.recommendation.SIZE_COLUMNS`."""
    first = size.recommendation.candidates[0]
    line = {name: getattr(first, name) for name in ("mean", "repetitions", "parameters", "seconds")}
    span = first.interval.model_dump() if first.interval is not None else {}
    own = {"budget": size.parameters, "model": size.model, "place": size.place}
    return line | span | own | {"verdict": size.recommendation.verdict, "study": size.recommendation.study}
