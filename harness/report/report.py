"""The contents of a report: its sections, how complete the store is, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from harness.analysis.across_tasks import Overall, overall, uncounted
from harness.analysis.cell_result import Curves
from harness.analysis.comparison import Section, compare
from harness.analysis.comparison_row import Row
from harness.analysis.stored_study import StoredStudy
from harness.records import LeftOut, Plugin


@dataclass(frozen=True)
class Report:
    study: str
    study_id: str
    protocol: str
    sampler: str
    seed: int
    others: tuple[str, ...]
    """Older study ids of this name."""
    sections: tuple[Section, ...]
    left_out: tuple[LeftOut, ...]
    ended: int
    """Trials that the store holds to the end."""
    marked: int | None
    """Ended trials in the ledger at the store's last complete sync."""
    race: bool = False
    """Whether its models were dropped in rounds; nothing is ranked then."""
    git: str = ""
    plugins: tuple[Plugin, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(row for section in self.sections for row in section.rows)


def build_report(stored: StoredStudy) -> Report:
    manifest = stored.manifest
    return Report(
        study=manifest.study,
        study_id=manifest.study_id,
        protocol=manifest.protocol,
        sampler=manifest.sampler,
        seed=manifest.seed,
        others=stored.others,
        sections=compare(stored),
        left_out=manifest.left_out,
        ended=sum(entry.result is not None for entry in stored.entries),
        marked=stored.mark.ended if stored.mark is not None else None,
        race=manifest.race,
        git=manifest.git,
        plugins=manifest.plugins,
        versions=manifest.versions,
        machine=manifest.machine,
        curves=stored.curves,
    )


def build_table(stored: StoredStudy) -> pd.DataFrame:
    """Return the mean test score of complete cells: one row per task, one column per model; missing if a cell is
    incomplete.
    """
    report = build_report(stored)
    models = list(dict.fromkeys(row.model for row in report.rows))
    scores = {
        section.task: {row.model: row.test.mean for row in section.rows if row.complete and row.test is not None}
        for section in report.sections
    }
    return pd.DataFrame.from_dict(scores, orient="index", columns=models, dtype="float64").rename_axis("task")


def by_protocol(reports: Sequence[Report]) -> dict[str, list[Report]]:
    """Scores under different protocols are never averaged together."""
    protocols = dict.fromkeys(report.protocol for report in reports)
    return {protocol: [one for one in reports if one.protocol == protocol] for protocol in protocols}


def over_tasks(reports: Sequence[Report]) -> Overall | None:
    """Return the comparison across all tasks of studies of one protocol."""
    return overall(_told_apart(reports))


def not_over_tasks(reports: Sequence[Report]) -> tuple[tuple[str, str], ...]:
    """Task, and why it does not count."""
    return uncounted(_told_apart(reports))


def _told_apart(reports: Sequence[Report]) -> list[Section]:
    """A task that is in several studies is named with each."""
    labels = Counter(section.task for report in reports for section in report.sections)
    return [
        replace(section, task=f"{report.study}: {section.task}") if labels[section.task] > 1 else section
        for report in reports
        for section in report.sections
    ]
