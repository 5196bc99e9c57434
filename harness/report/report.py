"""The content of a report: a section per task, completeness of the store, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from harness.analysis.across_tasks import Overall, overall, uncounted
from harness.analysis.cell_result import Curves
from harness.analysis.comparison import Section, compare
from harness.analysis.comparison_row import Row
from harness.analysis.size_comparison import SizeComparison, compare_sizes
from harness.analysis.stored_study import StoredStudy
from harness.records import LeftOut, Plugin


@dataclass(frozen=True)
class Report:
    """Everything that a report of one study shows."""

    study: str
    study_id: str
    protocol: str
    sampler: str
    seed: int
    others: tuple[str, ...]
    """Ids of older studies with this name."""
    sections: tuple[Section, ...]
    left_out: tuple[LeftOut, ...]
    ended: int
    """Number of finished trials in the store."""
    marked: int | None
    """Number of finished trials in the ledger at the last sync; None if the store was never synced."""
    race: bool = False
    """Whether the study is a race, which drops models in rounds; a race has no ranks."""
    git: str = ""
    plugins: tuple[Plugin, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    sizes: tuple[SizeComparison, ...] = ()
    """Of each task that the study has at several sizes."""
    baseline: tuple[str, ...] = ()
    """Which cells are stored results of other studies, one line per study."""

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(row for section in self.sections for row in section.rows)


def build_report(stored: StoredStudy) -> Report:
    """Compare the models of a stored study and return its report."""
    manifest, sections = stored.manifest, compare(stored)
    return Report(
        study=manifest.study,
        study_id=manifest.study_id,
        protocol=manifest.protocol,
        sampler=manifest.sampler,
        seed=manifest.seed,
        others=stored.others,
        sections=sections,
        sizes=compare_sizes(sections),
        left_out=manifest.left_out,
        ended=sum(entry.result is not None for entry in stored.entries),
        marked=stored.mark.ended if stored.mark is not None else None,
        race=manifest.race,
        git=manifest.git,
        plugins=manifest.plugins,
        versions=manifest.versions,
        machine=manifest.machine,
        curves=stored.curves,
        baseline=stored.baseline,
    )


def build_table(stored: StoredStudy) -> pd.DataFrame:
    """Return mean test scores: one row per task, one column per model, NaN if a cell is not complete."""
    report = build_report(stored)
    models = list(dict.fromkeys(row.model for row in report.rows))
    scores = {
        section.task: {row.model: row.test.mean for row in section.rows if row.complete and row.test is not None}
        for section in report.sections
    }
    return pd.DataFrame.from_dict(scores, orient="index", columns=models, dtype="float64").rename_axis("task")


def by_protocol(reports: Sequence[Report]) -> dict[str, list[Report]]:
    """Return protocol → its reports; scores under different protocols are never averaged together."""
    protocols = dict.fromkeys(report.protocol for report in reports)
    return {protocol: [report for report in reports if report.protocol == protocol] for protocol in protocols}


def across_tasks(reports: Sequence[Report]) -> Overall | None:
    """Compare models across all tasks of studies with one protocol; None if too few models or tasks count."""
    return overall(_with_unique_labels(reports))


def uncounted_tasks(reports: Sequence[Report]) -> tuple[tuple[str, str], ...]:
    """Return the tasks that do not count across tasks, each with the reason."""
    return uncounted(_with_unique_labels(reports))


def _with_unique_labels(reports: Sequence[Report]) -> list[Section]:
    """Return all sections; a task that is in several studies carries the study's name."""
    labels = Counter(section.task for report in reports for section in report.sections)
    return [
        replace(section, task=f"{report.study}: {section.task}") if labels[section.task] > 1 else section
        for report in reports
        for section in report.sections
    ]
