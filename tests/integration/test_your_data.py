"""`harness run --data`: from a user-supplied dataset to the comparison, with its notes and errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.ledger.journal import read_study
from tests.support.command import run_command

pytest.importorskip("harness_tasks", reason="the first-party tasks on own files")
pytest.importorskip("harness_models", reason="they are trained by first-party models")

SMALL = (
    "-s",
    "budget.trials=2",
    "-s",
    "budget.repetitions=2",
    "-s",
    "training.updates=120",
    "-s",
    "training.evaluations=3",
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def sums(path: Path, sequences: int = 300) -> None:
    """Write sequences of six numbers; the target is their sum, which a prediction without memory cannot know."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({"id": np.repeat(np.arange(sequences), 6), "step": np.tile(np.arange(6), sequences)})
    table["value"] = random.normal(size=len(table))
    table["total"] = table.groupby("id")["value"].transform("sum")
    table.to_csv(path, index=False)


@pytest.mark.slow
def test_file_gives_a_study_that_beats_the_floor_and_is_resumed_by_its_name(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sums(place / "sums.csv")
    given = ("--data", "sums.csv", "--target", "total", "--budget", "1k", "-s", "sequence=id", "-s", "time=step")
    assert run_command(monkeypatch, "run", *given, "--models", "gru,rnn", "--serial", *SMALL) == 0
    shown = capsys.readouterr()
    assert "sums: target total is read as numbers, one answer per sequence, from 1 inputs; sequences: 210" in shown.err
    snapshot = read_study(place / "runs" / "sums")
    floor = snapshot.manifest.cells[0].floor
    scores = [
        entry.result.metrics["test"]["rmse"]
        for entry in snapshot.entries()
        if entry.trial.phase == "final" and entry.result is not None
    ]
    assert floor is not None
    assert len(scores) == 4
    assert min(scores) < floor / 2
    assert (place / "mlflow.db").exists()
    elsewhere = place.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    before = [entry.trial.key for entry in snapshot.entries()]
    assert run_command(monkeypatch, "run", "sums", "--runs", str(place / "runs"), "--serial") == 0
    assert [entry.trial.key for entry in read_study(place / "runs" / "sums").entries()] == before
    assert run_command(monkeypatch, "report", "sums") == 0
    assert run_command(monkeypatch, "plan", "sums", "--runs", str(place / "runs")) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--data", "none.csv", "--budget", "2k"), "none.csv: cannot be read (No such file or directory)"),
        (("run", "--data", "sums.csv"), "--data sums.csv: the size of the networks is missing; give their"),
        (("run", "--data", "sums.csv", "--budget", "2q"), "--budget '2q': not a number of parameters; give"),
        (("run", "--data", "sums.csv", "--budget", "2k"), "which column is to be predicted? Say target = NAME"),
        (("plan", "--data", "sums.csv", "--budget", "2k", "--target", "totl"), "did you mean 'total'?"),
        (("run", "x.toml", "--data", "sums.csv", "--budget", "2k"), "makes a study of its own; leave out x.toml"),
        (
            ("run", "--data", "sums.csv", "--budget", "2k", "--tasks", "a"),
            "makes a study of its own; leave out --tasks",
        ),
        (
            ("recommend", "-s", "sequenc=id", "--data", "sums.csv", "--budget", "2k", "--target", "total"),
            "did you mean 'sequence'?",
        ),
        (("run", "--target", "total"), "--target describes a dataset of your own; give --data FILE with it"),
        (("run",), "no study is given; name its file, such as studies/quickstart.toml, or give --data FILE"),
        (("run", "unheard-of"), "unheard-of: no such file"),
        (("show", "arrays"), "task 'arrays' needs the option 'data': data = …"),
    ],
)
def test_usage_error_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sums(place / "sums.csv", 40)
    assert run_command(monkeypatch, *arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert len(shown.err.splitlines()) == 1
    assert not (place / "runs").exists()


def test_show_prints_how_the_file_is_read(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sums(place / "sums.csv")
    assert run_command(monkeypatch, "show", "arrays", "data=sums.csv", "target=total", "sequence=id", "time=step") == 0
    shown = capsys.readouterr().out
    assert "  metric      rmse lower is better" in shown
    assert "  note        target total is read as numbers" in shown
    assert f"  data        {place}/sums.csv: present" in shown


def test_one_trial_trains_on_a_file(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sums(place / "sums.csv")
    given = ("data=sums.csv", "target=total", "sequence=id", "parameters=500", "updates=4", "evaluations=2")
    assert run_command(monkeypatch, "train", "arrays", "gru", *given) == 0
    assert "best validation rmse" in capsys.readouterr().out


@pytest.mark.parametrize("command", [("data", "status"), ("show", "gru"), ("list",)])
def test_commands_over_all_tasks_leave_out_those_that_need_a_file(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, *command) == 0
    assert ("arrays" in capsys.readouterr().out) == (command == ("list",))
