"""Write the page of the studies about the search: successive halving against full-length trials, and sizes.

    python studies/search_page.py docs/results

Reads the studies in FOLDER/search, which `harness export` wrote: pairs `halving-TASK` and `full-TASK`, and `sizes`.
Writes FOLDER/search.md and the SVG files beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib

from harness.analysis.cell_result import CellResult
from harness.analysis.comparison import Section, decide_cells
from harness.analysis.paired_tests import correct
from harness.analysis.statistics import Interval, Scale, Summary
from harness.errors import StudyError
from harness.plugin.registry import Registry
from harness.report.document import NOTHING, Block, Datum, Heading, Notes, Paragraph, Table
from harness.report.figures.sizes import score_against_parameters
from harness.report.figures.style import STYLE, model_styles
from harness.report.formatting import count, listed, mean_interval, number
from harness.report.report import Report
from harness.report.sections.sizes import sizes_blocks
from harness.report.writers import markdown
from page_command import command
from stored_reports import provenance, read_reports

WORDS = {"undecided": "inconclusive"}
"""Stored verdict → the word of the reports, where they differ."""
ARMS = {"halving": "successive halving", "full": "full length"}
"""Prefix of a study's name → how its search trains."""
HEADER = ("model", "search", "trials", "updates", "minutes", "validation (mean, 95 % CI)", "test (mean, 95 % CI)")


def write_page(registry: Registry, folder: Path) -> Path:
    """Write page and figures into a folder; return the path of the page.

    Raises LedgerError without a study, and StudyError if the two searches of a pair cannot be compared.
    """
    reports = {report.study: report for report in read_reports(registry, folder / "search")}
    blocks: list[Block] = [Heading("Successive halving and sizes", 1), Paragraph(OPENING)]
    blocks += [block for name in reports for block in halving_blocks(registry, reports, name)]
    text = markdown.render(blocks)
    for report in reports.values():
        text += "".join(f"\n{part}" for part in _sizes(report, folder))
    path = folder / "search.md"
    path.write_text(f"{text}\n{markdown.render([Notes(tuple(_facts(reports.values())))])}")
    return path


OPENING = (
    "Two questions: does a search with successive halving find better configurations than one of full-length trials, "
    "at the same total of updates for every model, and which model leads at which size? The page is made from "
    "docs/results/search by studies/search_page.py, without training."
)


def halving_blocks(registry: Registry, reports: Mapping[str, Report], name: str) -> Iterator[Block]:
    """Yield the heading, sentence and table of the task whose arm with successive halving is the study `name`."""
    arm, _, task = name.partition("-")
    if arm != "halving" or f"full-{task}" not in reports:
        return
    pruned, full = (_only_task(reports[study]) for study in (name, f"full-{task}"))
    others = {result.facts.cell.model: result for result in full.results}
    if others.keys() != (models := {result.facts.cell.model for result in pruned.results}):
        raise StudyError(f"{name} has the models {_names(models)}, and full-{task} has {_names(others)}")
    pairs = [(result, others[result.facts.cell.model]) for result in pruned.results]
    lines = [line for ours, other in pairs for line in (_line(pruned, ours, "halving"), _line(full, other, "full"))]
    yield Heading(f"Successive halving: {task}", 2)
    yield Paragraph(f"{sentence(task, pairs)}{warning(registry, pruned)}")
    yield Table(HEADER, tuple(lines))


def _only_task(report: Report) -> Section:
    if len(report.sections) != 1:
        tasks = _names(section.task for section in report.sections)
        raise StudyError(f"{report.study}: two searches are compared on one task; this study has {tasks}")
    return report.sections[0]


def _names(names: Iterable[str]) -> str:
    return listed(sorted(names)) or "none"


def sentence(task: str, pairs: Sequence[tuple[CellResult, CellResult]]) -> str:
    """Return for which models successive halving is better, worse, equivalent or undecided, or found the same."""
    same = [pruned.facts.cell.model for pruned, full in pairs if _trained(pruned) == _trained(full)]
    others = [pair for pair in pairs if pair[0].facts.cell.model not in same]
    decisions = correct([decide_cells(pruned, full) for pruned, full in others])
    said: dict[str, list[str]] = {}
    for (pruned, _), decision in zip(others, decisions, strict=True):
        ties = f", {decision.ties} tied" if decision.ties else ""
        wins = f"{decision.wins} of {decision.n} pairs won{ties}"
        ends = _effect(decision.difference, pruned.scale)
        said.setdefault(decision.verdict, []).append(f"{pruned.facts.cell.model} ({wins}{ends})")
    verdicts = [f"{WORDS.get(verdict, verdict)} with {', '.join(models)}" for verdict, models in said.items()]
    verdicts += [f"the same configuration with {listed(same)}"] if same else []
    return f"{task}, the winner of successive halving against that of the full-length search: {'; '.join(verdicts)}."


def _trained(result: CellResult) -> list[str]:
    """Return what its final trials trained: equal for equal configurations."""
    return [entry.trial.digest for entry in result.finals]


def warning(registry: Registry, section: Section) -> str:
    """Return that pruning is unsafe on a task, if its known plateau exceeds the first rung; else ''."""
    plateau = registry.make_task(section.ref.name, section.ref.options).plateau()
    rungs = section.results[0].facts.rungs
    first = rungs[0].updates if rungs else 0
    if plateau is None or not rungs or plateau.updates < first:
        return ""
    return (
        f" Pruning is unsafe on this task: training is known to stay at the floor for {count(plateau.updates)} "
        f"updates, and the first rung has {count(first)}."
    )


def _effect(between: Interval | None, scale: Scale) -> str:
    """Return the interval of the mean difference, or of the ratio of means on a log scale."""
    if between is None:
        return ""
    if scale == "log":
        return f", ratio of means {number(math.exp(between.low))} to {number(math.exp(between.high))}"
    return f", mean difference {number(between.low)} to {number(between.high)}"


def _line(section: Section, result: CellResult, arm: str) -> tuple[Datum, ...]:
    row = next(row for row in section.rows if row.model == result.facts.cell.model)
    ended = [entry.result for entry in result.search if entry.result is not None]
    return (
        Datum(result.facts.cell.model),
        Datum(ARMS[arm]),
        Datum(count(len(result.search))),
        Datum(count(sum(trial.updates for trial in ended))),
        Datum(f"{sum(trial.train_seconds or 0 for trial in ended) / 60:.1f}"),
        Datum(_score(result.summary("validation"))),
        Datum(_score(row.test)),
    )


def _score(summary: Summary | None) -> str:
    """Return the mean with its interval, or the median with its own if the mean has none."""
    if summary is None:
        return NOTHING
    if summary.interval is None and summary.median_interval is not None:
        return f"median {mean_interval(summary.median, summary.median_interval)}"
    return mean_interval(summary.mean, summary.interval)


def _sizes(report: Report, folder: Path) -> Iterator[str]:
    """Yield the sections about sizes of a study, and write their figures into the folder."""
    for comparison in report.sizes:
        yield markdown.render(sizes_blocks(comparison))
        with matplotlib.rc_context(STYLE):
            drawn = score_against_parameters(comparison, model_styles([report]))
        if drawn is not None:
            file = f"sizes-{comparison.task}.svg"
            (folder / file).write_text(drawn.svg)
            yield f"![{drawn.caption}]({file})\n"


def _facts(reports: Iterable[Report]) -> Iterator[str]:
    yield (
        "Successive halving. trials, updates, minutes: of the search; minutes are the sum over trials, on a shared "
        "machine. validation, test: of its winner, trained again with new seeds, the same after both searches. "
        "Verdicts are those of the report: a sign test over pairs, or the mean difference within the task's margin, "
        "with Holm's correction over the models of a task for which both searches found different configurations; with "
        "three or four of them even ten wins of ten pairs decide nothing. They "
        "compare the configurations that these two searches found; other seeds of the search may find others. median: "
        "some runs succeed and some do not, so that a mean is not meaningful."
    )
    yield (
        "Sizes. Each cell has a search of its own, of few trials. Where a score is worse at a larger size, the search "
        "found less there, and the size at which the leader changes depends on what the searches found."
    )
    for report in reports:
        yield f"{provenance(report)}, {_wall_minutes(report):.0f} minutes from the first trial to the last."


def _wall_minutes(report: Report) -> float:
    ended = [
        entry.result
        for section in report.sections
        for result in section.results
        for entry in result.entries
        if entry.result is not None and entry.result.started
    ]
    return (max(trial.ended for trial in ended) - min(trial.started for trial in ended)) / 60


if __name__ == "__main__":
    raise SystemExit(command(__doc__, write_page))
