"""Compare the models of a plan with stored cells of another study, which are not trained again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.analysis.stored_study import StoredStudy, SyncMark, of_ledger
from harness.api.task import Task
from harness.errors import StudyError
from harness.ledger.exported import read_folder, study_folders
from harness.ledger.folder import STUDY_FILE
from harness.ledger.journal import Snapshot, TrialEntry
from harness.plugin.registry import Registry
from harness.records import OF_A_TASK, CellFacts
from harness.study.cell_plan import CellPlan
from harness.study.file import read_study_file
from harness.study.fingerprint import code_of, fingerprint_of
from harness.study.labels import task_label
from harness.study.plan import Plan
from harness.study.schema import Study, TrainingSection

OF_ANY_CELL = ("task options", "seed", "data")
"""Parts of a fingerprint that must agree."""
OF_A_SEARCH = ("schedule", "sampler", "tolerance")
"""Further parts under protocol `fair`."""
OF_A_METRIC = ("name", "unit", "better")
"""Its scale and margin are of the comparison, which is made with those of the task as it is now."""


@dataclass(frozen=True)
class StoredCell:
    """One cell of a baseline, with what a report needs of its task as it is now."""

    study: Snapshot
    facts: CellFacts
    changed: bool
    """Whether the installed code of its task or model differs from the code that trained it."""

    @property
    def entries(self) -> tuple[TrialEntry, ...]:
        return tuple(entry for entry in self.study.entries() if entry.trial.cell == self.facts.cell)


def baseline_cells(plan: Plan, path: Path, registry: Registry) -> tuple[StoredCell, ...]:
    """Return the stored cells of the plan's tasks whose models the plan does not train.

    path: folder of a study, as `harness run` or `harness export` wrote it, or a folder of such folders.  Raises
    LedgerError if it holds no study, and StudyError if it has no such cell, or one that is not comparable.

    registry: of the installed plugins.
    """
    planned = {cell.cell for cell in plan.cells}
    tasks = {cell.cell.task: cell for cell in sorted(plan.cells, key=lambda cell: cell.setting is None)}
    cells: dict[object, StoredCell] = {}
    for study in map(read_folder, study_folders(path)):
        for facts in study.manifest.cells:
            if facts.cell in planned or facts.cell.task not in tasks or study.manifest.protocol != plan.study.protocol:
                continue
            if facts.cell in cells:
                raise StudyError(
                    f"baseline {path}: {cells[facts.cell].study.folder.name} and {study.folder.name} both hold "
                    f"{facts.cell}; give the folder of one of them"
                )
            task = tasks[facts.cell.task]
            cells[facts.cell] = _checked(StoredCell(study, facts, _changed(facts, task.task, registry)), task, plan)
    if not cells:
        raise StudyError(
            f"baseline {path}: holds no other cell of {', '.join(sorted(tasks))} under protocol {plan.study.protocol}"
        )
    return tuple(cells.values())


def beside(snapshot: Snapshot, cells: tuple[StoredCell, ...]) -> StoredStudy:
    """Return a study with the stored cells of a baseline added to its own.  Cells that it has itself are its own."""
    own = of_ledger(snapshot)
    cells = tuple(cell for cell in cells if cell.facts.cell not in {facts.cell for facts in own.cells})
    stored = {cell.study.manifest.study_id: cell.study for cell in cells}
    curves = {key: curve for study in stored.values() for key, curve in of_ledger(study).curves.items()}
    entries = (*own.entries, *(entry for cell in cells for entry in cell.entries))
    return StoredStudy(
        manifest=own.manifest.model_copy(update={"cells": (*own.cells, *(cell.facts for cell in cells))}),
        entries=entries,
        mark=SyncMark.of(entries),
        curves={**curves, **own.curves},
        baseline=tuple(_origin(study, cells) for study in stored.values()),
    )


def _origin(study: Snapshot, cells: tuple[StoredCell, ...]) -> str:
    names = ", ".join(str(cell.facts.cell) for cell in cells if cell.study is study)
    manifest = study.manifest
    versions = ", ".join(f"{name} {manifest.versions[name]}" for name in ("torch",) if name in manifest.versions)
    code = f"code {manifest.git}" if manifest.git else ""
    facts = ", ".join(filter(None, (manifest.study_id, code, versions, manifest.machine.get("cpu", ""))))
    changed = ", ".join(cell.facts.cell.model for cell in cells if cell.study is study and cell.changed)
    since = f"; the code of the task, or of {changed}, has changed since" if changed else ""
    return f"{names}: stored results of study {manifest.study} ({facts}), not trained again{since}"


def _changed(facts: CellFacts, task: Task, registry: Registry) -> bool:
    """Return whether other code is installed than trained a cell; False if its model is not installed."""
    if facts.model not in registry.models:
        return False
    return fingerprint_of(code_of(task, registry.model(facts.model).value)) != facts.fingerprint.get("code")


def _checked(stored: StoredCell, planned: CellPlan, plan: Plan) -> StoredCell:
    """Return a stored cell with the metric, the floor and the published size of the task as they are now.

    Raises StudyError if it cannot be compared with the cells of the plan.
    """
    differing = list(_differences(stored, planned, plan))
    if differing:
        raise StudyError(
            f"baseline {stored.study.folder}: {stored.facts.cell} differs in {'; '.join(differing)}; set the study to "
            "the stored values, or leave out the baseline"
        )
    now, of_task = planned.facts, OF_A_TASK if plan.study.protocol == "fair" else ()
    update = {
        "metric": now.metric,
        "others": now.others,
        "floor": now.floor,
        "validation_floor": now.validation_floor,
        "task_parameters": now.task_parameters,
        # Compared above by value: a release may add a field to a record, and with it change every digest.
        "fingerprint": {
            **stored.facts.fingerprint,
            **{name: now.fingerprint[name] for name in of_task if name in now.fingerprint},
        },
    }
    return replace(stored, facts=stored.facts.model_copy(update=update))


def _differences(stored: StoredCell, planned: CellPlan, plan: Plan) -> Iterator[str]:
    """Yield what differs between a stored cell and the plan of its task, in words."""
    facts, now, fair = stored.facts, planned.facts, plan.study.protocol == "fair"
    if stored.study.manifest.race:
        yield "that it is a race of `harness recommend`, whose repetitions depend on the scores"
    yield from _differing({"task": facts.task.name}, {"task": now.task.name})
    versions = {plugin.name: plugin.version for plugin in stored.study.manifest.plugins}
    provider, searched = planned.plugins[0], fair and now.trials > 0 and facts.setting == "searched"
    yield from _differing({provider.name: versions.get(provider.name)}, {provider.name: provider.version})
    for name in (*OF_ANY_CELL, *(OF_A_SEARCH if searched else ())):
        if facts.fingerprint.get(name) != now.fingerprint.get(name):
            yield name
    yield from _differing(
        *({f"metric {name}": getattr(of.metric, name) for name in OF_A_METRIC} for of in (facts, now))
    )
    compared = ["repetitions", *(["parameters"] if fair else []), *(["trials", "rungs"] if searched else [])]
    yield from _differing(*({name: getattr(of, name) for name in compared} for of in (facts, now)))
    trained = next((entry.trial.training for entry in stored.entries), None)
    if fair and trained is not None:
        yield from _differing(trained.model_dump(), planned.training.model_dump())
    if not fair:
        yield from _differing_sections(stored, planned, plan.study)


def _differing_sections(stored: StoredCell, planned: CellPlan, study: Study) -> Iterator[str]:
    """Yield what two studies under protocol `paper` set differently; the rest is each model's published setting."""
    file = stored.study.folder / STUDY_FILE
    if not file.exists():
        yield f"{STUDY_FILE}, which is missing"
        return
    sections = (_section(of, planned).model_dump() for of in (read_study_file(file), study))
    yield from _differing(*sections)


def _section(study: Study, planned: CellPlan) -> TrainingSection:
    """Return the training section of a study for the task of a cell, with the task's own keys."""
    name, label = planned.task.name, planned.cell.task
    entry = next((one for one in study.tasks if one.name == name and task_label(one, planned.task) == label), None)
    return study.training if entry is None else study.training.overridden_by(entry.training)


def _differing(stored: Mapping[str, object], now: Mapping[str, object]) -> Iterator[str]:
    for name, value in now.items():
        if stored.get(name) != value:
            before, after = ("none" if one in (None, "") else one for one in (stored.get(name), value))
            yield f"{name} ({before} stored, {after} here)"
