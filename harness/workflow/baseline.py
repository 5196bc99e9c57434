"""Compare the models of a plan with stored cells of another study, which are not trained again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.analysis.stored_study import StoredStudy, SyncMark, of_ledger
from harness.api.task import Task
from harness.errors import StudyError
from harness.ledger.exported import read_folder, study_folders
from harness.ledger.journal import Snapshot, TrialEntry
from harness.plugin.registry import Registry
from harness.records import OF_A_TASK, CellFacts, Manifest
from harness.study.cell_plan import CellPlan
from harness.study.fingerprint import code_of, fingerprint_of
from harness.study.plan import Plan, make_plan
from harness.study.schema import ModelEntry, Study

OF_ANY_CELL = ("task options", "seed", "data")
"""Parts of a fingerprint that must agree."""
OF_A_SEARCH = ("schedule", "sampler", "tolerance")
"""Further parts under protocol `fair`."""
OF_A_METRIC = ("name", "unit", "better")
"""Its scale and margin are of the comparison, which is made with those of the task as it is now."""
OF_ANY_SETTING = {"patience", "minimum_updates", "seconds", "precision", "evaluation_limit"}
"""Parts of a training that no published setting states."""


@dataclass(frozen=True)
class StoredCell:
    """One cell of a baseline, with what a report needs of its task as it is now."""

    study: Snapshot
    facts: CellFacts
    changed: bool | None
    """Whether other code of seqharness or of a plugin is installed than trained it; None if that is not known."""

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
            if facts.cell in planned or facts.cell.task not in tasks or not _same_kind(study.manifest, plan):
                continue
            if facts.cell in cells:
                raise StudyError(
                    f"baseline {path}: {cells[facts.cell].study.folder.name} and {study.folder.name} both hold "
                    f"{facts.cell}; give the folder of one of them"
                )
            task = tasks[facts.cell.task]
            stored = StoredCell(study, facts, _changed(facts, task.task, registry))
            cells[facts.cell] = _checked(stored, task, plan, registry)
    if not cells:
        raise StudyError(
            f"baseline {path}: holds no other cell of {', '.join(sorted(tasks))} under protocol {plan.study.protocol}; "
            "races of `harness recommend` do not count, as their repetitions depend on the scores"
        )
    return tuple(cells.values())


def _same_kind(manifest: Manifest, plan: Plan) -> bool:
    return manifest.protocol == plan.study.protocol and not manifest.race


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
    changed, unknown = (
        ", ".join(cell.facts.cell.model for cell in cells if cell.study is study and cell.changed is state)
        for state in (True, None)
    )
    since = f"; seqharness or a plugin of {changed} has changed since" if changed else ""
    since += f"; {unknown}: not installed, so whether the code has changed is unknown" if unknown else ""
    return f"{names}: stored results of study {manifest.study} ({facts}), not trained again{since}"


def _changed(facts: CellFacts, task: Task, registry: Registry) -> bool | None:
    if facts.model not in registry.models or "code" not in facts.fingerprint:
        return None
    return fingerprint_of(code_of(task, registry.model(facts.model).value)) != facts.fingerprint["code"]


def _checked(stored: StoredCell, planned: CellPlan, plan: Plan, registry: Registry) -> StoredCell:
    """Return a stored cell with the metric, the floor and the published size of the task as they are now.

    Raises StudyError if it cannot be compared with the cells of the plan.
    """
    differing = [*_differences(stored, planned, plan), *_in_training(stored, planned, plan, registry)]
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
    yield from _differing({"task": facts.task.name}, {"task": now.task.name})
    plugins = next((entry.trial.plugins for entry in stored.entries), ()) or stored.study.manifest.plugins
    versions = {plugin.name: plugin.version for plugin in plugins}
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


def _in_training(stored: StoredCell, planned: CellPlan, plan: Plan, registry: Registry) -> Iterator[str]:
    """Yield what differs in the training of a stored cell.

    Under protocol `paper`, length, batch size and schedule are those of the model's published setting unless the study
    sets them.  They are compared if the stored model is installed, so that it can be planned in this study.
    """
    trial = next((entry.trial for entry in stored.entries), None)
    if trial is None:
        return
    if plan.study.protocol == "fair":
        yield from _differing(trial.training.model_dump(), planned.training.model_dump())
        return
    if stored.facts.model not in registry.models:
        yield from _differing(trial.training.model_dump(), planned.training.model_dump(include=OF_ANY_SETTING))
        return
    again = _planned_here(stored.facts, planned.task.name, plan.study, registry)
    if again is None:
        yield "published setting"
        return
    yield from _differing(trial.training.model_dump(), again.training.model_dump())
    yield from _differing(trial.optimisation.schedule.model_dump(), again.schedule.model_dump())


def _planned_here(facts: CellFacts, task: str, study: Study, registry: Registry) -> CellPlan | None:
    """Return a cell of protocol `paper` as this study would train it; None if its setting is none that it has now."""
    tasks = tuple(entry for entry in study.tasks if entry.name == task)  # the floors of others may take long
    for setting in ("searched", "published-second"):
        entry = ModelEntry.model_validate({"name": facts.model, "as": facts.cell.model, "setting": setting})
        with contextlib.suppress(StudyError):
            for cell in make_plan(study.model_copy(update={"models": (entry,), "tasks": tasks}), registry).cells:
                same = cell.facts.fingerprint.get("setting") == facts.fingerprint.get("setting")
                if cell.cell == facts.cell and same:
                    return cell
    return None


def _differing(stored: Mapping[str, object], now: Mapping[str, object]) -> Iterator[str]:
    for name, value in now.items():
        if stored.get(name) != value:
            before, after = ("none" if one in (None, "") else one for one in (stored.get(name), value))
            yield f"{name} ({before} stored, {after} here)"
