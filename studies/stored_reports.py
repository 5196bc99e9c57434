"""Read the studies that `harness export` stored below docs/results, as reports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.analysis.stored_study import StoredStudy, of_ledger
from harness.ledger.exported import read_folder, study_folders
from harness.plugin.registry import Registry
from harness.records import CellFacts
from harness.report.report import Report, build_report


def read_reports(registry: Registry, folder: Path) -> list[Report]:
    """Return the reports of the studies in a folder, or of the one study that it is.  Raises LedgerError if none."""
    return [read_report(registry, path) for path in study_folders(folder)]


def read_report(registry: Registry, folder: Path) -> Report:
    """Return the report of one study, with the floors that its tasks state now; a study keeps those of its time."""
    study = of_ledger(read_folder(folder))
    return build_report(_with_present_floors(registry, study))


def _with_present_floors(registry: Registry, study: StoredStudy) -> StoredStudy:
    floors: dict[str, float | None] = {}

    def of_now(facts: CellFacts) -> CellFacts:
        label = facts.cell.task
        if label not in floors:
            floors[label] = registry.make_task(facts.task.name, facts.task.options).floor()
        return facts.model_copy(update={"floor": floors[label]})

    cells = tuple(of_now(facts) for facts in study.cells)
    return replace(study, manifest=study.manifest.model_copy(update={"cells": cells}))


def provenance(report: Report) -> str:
    """Return a study's name, id and code, and the machine that trained it."""
    facts = [report.study_id, f"code {report.git or 'unknown'}", report.machine.get("cpu", "")]
    facts += [f"torch {report.versions['torch']}"] if "torch" in report.versions else []
    return f"study {report.study}: {', '.join(filter(None, facts))}"
