"""Simulated workers run a real study to its end, and never use more slots than there are."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from harness.execution.controller import StudyController
from harness.execution.runner import Runner
from harness.ledger.journal import read_study
from harness.plugin.loader import load_plugins
from scale import ask, fits, plan_of
from scale_workers import SimulatedWorkers, nodes_for


def test_simulated_workers_run_every_trial_of_a_study(tmp_path: Path) -> None:
    loaded = load_plugins()
    runner = Runner(plan_of(loaded, 40, "random"), loaded, tmp_path)
    workers = SimulatedWorkers(4)
    outcome = runner.run(lambda source: workers.run(cast(StudyController, source)))
    entries = read_study(runner.folder).entries()
    assert outcome.complete
    assert len(entries) == 40
    ends = [(entry.result.started, entry.result.ended) for entry in entries if entry.result is not None]
    assert len(ends) == 40
    assert max(sum(start <= moment < end for start, end in ends) for moment, _ in ends) == 4
    assert 0.9 < workers.utilisation() <= 1.0
    assert {entry.result.outcome for entry in entries if entry.result} >= {"complete"}


def test_nodes_hold_exactly_the_slots() -> None:
    assert [sum(node.gpu for node in nodes_for(slots)) for slots in (1, 8, 20)] == [1, 8, 20]


def test_lines_of_a_table_have_positive_times() -> None:
    assert fits(16)["fits (ms)"] > 0
    assert ask("tpe", 12)["ask (ms)"] > 0
