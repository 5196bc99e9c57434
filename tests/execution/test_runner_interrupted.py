"""A study that is interrupted, killed or out of disk space equals the undisturbed study once it is resumed."""

from __future__ import annotations

import contextlib
import itertools
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.errors import LedgerError
from harness.execution.runner import Runner, StudyOutcome
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.ledger.folder import JOURNAL, STUDY_FILE
from harness.ledger.journal import read_study
from harness.plugin.loader import Loaded
from harness.records import Trial, TrialResult
from harness.study.plan import make_plan
from harness.study.schema import Study
from harness.training import checkpoint
from tests.support.ledgers import reproducible, reproducible_by_key
from tests.support.sources import Interrupting, Passing

MakeStudy = Callable[..., Study]
Launch = Callable[..., StudyOutcome]
pytestmark = pytest.mark.usefixtures("short_slices")


TWO_CELLS: dict[str, Any] = {  # tables of a study file, hence Any
    "models": ["toy-ema", "toy-stack"],
    "tasks": [{"name": "toy-ragged", "parameters": 60}],
    "budget": {"trials": 2, "repetitions": 2, "tolerance": 0.1},
    "training": {"updates": 5, "batch_size": 4, "evaluations": 2},
}


def test_study_interrupted_anywhere_and_resumed_equals_the_undisturbed_study(
    launch: Launch, toy_study: MakeStudy
) -> None:
    study = toy_study(**TWO_CELLS)
    undisturbed = launch(study)
    expected = reproducible_by_key(undisturbed.folder)
    assert len(expected) == 8
    calls = 0
    for after in range(0, 60, 5):
        with contextlib.suppress(KeyboardInterrupt):
            launch(study, partial(Interrupting, after=after, before=after % 2 == 0), runs=f"runs-{after}")
            break  # no interruption: the study has fewer calls
        calls += 1
        outcome = launch(study, runs=f"runs-{after}")
        assert outcome.complete
        assert reproducible_by_key(outcome.folder) == expected, f"interrupted at call {after}"
        attempts = [entry.attempt for entry in read_study(outcome.folder).entries()]
        assert sorted(attempts) in ([1] * 8, [1] * 7 + [2])
    assert calls == 12


@pytest.mark.parametrize("sampler", ["random", "tpe", "quasi-random"])
def test_study_interrupted_repeatedly_equals_the_undisturbed_study(
    launch: Launch, toy_study: MakeStudy, sampler: str
) -> None:
    study = toy_study(budget={"trials": 3, "repetitions": 1}, search={"sampler": sampler})
    expected = reproducible_by_key(launch(study).folder)
    runs = 0
    for after in itertools.cycle([3, 9, 5, 2]):
        with contextlib.suppress(KeyboardInterrupt):
            outcome = launch(study, partial(Interrupting, after=after, before=True), runs="broken")
            break
        runs += 1
    assert runs > 4
    assert reproducible_by_key(outcome.folder) == expected


KILLED = """
import sys
from pathlib import Path
from importlib.metadata import EntryPoint
from harness.execution import serial, trial
from harness.execution.runner import Runner
from harness.plugin.loader import load_plugins
from harness.study.file import read_study_file
from harness.study.plan import make_plan
serial.SLICE_SECONDS = 0
loaded = load_plugins([EntryPoint(name="toys", value="tests.support.toys", group="harness")])
plan = make_plan(read_study_file(Path(sys.argv[1])), loaded.registry)
runner = Runner(plan, loaded, Path(sys.argv[2]))
runner.run(lambda source: serial.run_serial(source, trial.Worker(runner.folder, loaded.registry)))
"""


def test_study_killed_in_training_and_resumed_equals_the_undisturbed_study(
    launch: Launch, toy_study: MakeStudy, tmp_path: Path, toy_loaded: Loaded
) -> None:
    study = toy_study(
        training={"updates": 60, "batch_size": 8, "evaluations": 30}, resources={"checkpoint_seconds": 1e-9}
    )
    expected = reproducible_by_key(launch(study).folder)
    file, runs = tmp_path / "study.toml", tmp_path / "killed"
    file.write_text((tmp_path / "runs" / study.name / STUDY_FILE).read_text())
    command = [sys.executable, "-c", KILLED, str(file), str(runs)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    journal = runs / study.name / JOURNAL
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.read_text().count("point/") < 10:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    attempts = [entry.attempt for entry in read_study(journal.parent).entries()]
    outcome = Runner(make_plan(study, toy_loaded.registry), toy_loaded, runs).run(
        lambda source: run_serial(source, Worker(journal.parent, toy_loaded.registry))
    )
    assert outcome.complete
    assert reproducible_by_key(outcome.folder) == expected
    assert sum(entry.attempt for entry in read_study(outcome.folder).entries()) > sum(attempts)


@pytest.mark.parametrize("fault", ["none", "nan", "raise"])
def test_checkpoints_are_kept_until_the_result_is_in_the_ledger(
    launch: Launch, toy_study: MakeStudy, tmp_path: Path, fault: str
) -> None:
    faulty = {"name": "toy-ema", "space": {"fault": fault}}
    study = toy_study(models=[faulty], resources={"checkpoint_seconds": 1e-9})
    seen: list[str] = []

    class Watching(Passing):
        def tell(self, trial: Trial, result: TrialResult) -> None:
            folder = checkpoint.folder_of(tmp_path / "runs" / study.name, trial.key)
            seen.extend(path.name for path in folder.glob("attempt-*.pt"))
            (folder / "attempt-0009.pt.77.writing").write_text("half") if folder.exists() else None
            super().tell(trial, result)

    outcome = launch(study, Watching)
    assert seen == ["attempt-0001.pt"] * {"none": 4, "nan": 2, "raise": 0}[fault]
    assert not list(outcome.folder.rglob("attempt-*"))
    assert len(list(outcome.folder.rglob("weights.pt"))) == (2 if fault == "none" else 0)


def test_torn_journal_is_repaired_with_a_message(launch: Launch, toy_study: MakeStudy) -> None:
    outcome = launch(toy_study())
    expected = reproducible_by_key(outcome.folder)
    with (outcome.folder / JOURNAL).open("ab") as file:
        file.write(b'{"op_code":')
    again = launch(toy_study())
    assert reproducible_by_key(again.folder) == expected
    (message,) = again.messages
    assert "dropped an incomplete last record of 11 bytes" in message


def test_study_resumes_after_a_full_disk(launch: Launch, toy_study: MakeStudy, tmp_path: Path) -> None:
    study = toy_study()

    class Full(Passing):
        def tell(self, trial: Trial, result: TrialResult) -> None:
            size = (tmp_path / "runs" / study.name / JOURNAL).stat().st_size
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))  # EFBIG past it, setrlimit(2)
            try:
                super().tell(trial, result)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with pytest.raises(LedgerError, match="cannot be written"):
        launch(study, Full)
    outcome = launch(study)
    assert outcome.complete
    assert any("dropped an incomplete last record" in message for message in outcome.messages)
    assert [reproducible(entry)["scores"] for entry in read_study(outcome.folder).entries()]
