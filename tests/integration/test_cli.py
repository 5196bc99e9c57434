from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from harness.cli.actions.show import headline
from harness.execution.controller import StudyController
from harness.records import Trial, TrialResult
from harness.report.formats import to_markdown
from harness.report.report import build_report
from harness.samplers import CORE_SAMPLERS
from harness.tracking.reader import read_store
from harness.tracking.sync import Tracker
from harness.workflow.study_log import logger
from tests.support.command import run_command
from tests.support.toys import ToyEma

TOYS = Path(__file__).parents[1] / "support" / "toys.py"
STUDY = """
name = "toys"
models = ["toy-ema", "toy-stack"]

[[tasks]]
name = "toy-sum"
parameters = 161

[budget]
trials = 2
repetitions = 2
tolerance = 0.1

[training]
updates = 8
batch_size = 8
evaluations = 2
"""

Harness = Callable[..., tuple[int, str, str]]


@pytest.fixture
def installed_toys(tmp_path: Path) -> Path:
    """A folder that, on the path, makes the toys an installed distribution."""
    folder = tmp_path / "site"
    info = folder / "seqharness_toys-0.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: seqharness-toys\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[harness]\ntoys = installed_toys\n")
    shutil.copy(TOYS, folder / "installed_toys.py")
    return folder


@pytest.fixture
def harness(
    installed_toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Harness:
    """Run a command line in an empty folder, in this process, with the toys installed and nothing else."""
    monkeypatch.syspath_prepend(installed_toys)
    monkeypatch.setenv("HARNESS_DISABLE_PLUGINS", "seqharness-models,seqharness-modern,seqharness-tasks")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / "toys.toml").write_text(STUDY)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = run_command(monkeypatch, *arguments)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_list_shows_names_plugin_version_and_origin(harness: Harness) -> None:
    code, out, _ = harness("list")
    assert code == 0
    for text in ("toy-ema", "toy-stack", "toy-sum", "seqharness-toys", "0.3", "installed_toys:ToySum"):
        assert text in out


def test_list_says_what_to_install_if_nothing_is_installed(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "HARNESS_DISABLE_PLUGINS", "seqharness-models,seqharness-modern,seqharness-tasks,seqharness-toys"
    )
    code, out, _ = harness("list")
    assert code == 0
    assert "seqharness-models" in out
    assert "seqharness-tasks" in out


def test_run_prints_a_table_and_running_it_again_trains_nothing(harness: Harness) -> None:
    code, out, err = harness("run", "toys.toml", "--serial")
    assert code == 0, err
    assert "4 of 4 cells" not in out  # one task, two models
    assert "2 of 2 cells are complete" in out
    assert err.count(": complete") == 8
    code, again, err = harness("run", "toys.toml", "--serial")
    assert code == 0
    assert again == out
    assert ": complete" not in err


def test_run_with_models_adds_a_row_and_trains_only_that(harness: Harness) -> None:
    harness("run", "toys.toml", "--serial", "--models", "toy-ema")
    code, out, err = harness("run", "toys.toml", "--serial", "--models", "toy-stack")
    assert code == 0
    assert "2 of 2 cells are complete" in out
    assert "toy-ema" not in err


def test_run_exits_1_and_prints_failed_if_every_trial_of_a_cell_raises(harness: Harness) -> None:
    models = 'models=["toy-ema", {name="toy-ema", as="broken", space={fault="raise"}}]'
    code, out, err = harness("run", "toys.toml", "--serial", "-s", models)
    assert code == 1
    assert "FAILED toy-sum/broken: no search trial completed" in err
    assert "FAILED" in out


def test_report_writes_csv_from_mlflow_alone(harness: Harness, tmp_path: Path) -> None:
    harness("run", "toys.toml", "--serial")
    shutil.rmtree("runs")
    assert harness("report", "toys", "--format", "csv", "--output", "out.csv")[0] == 0
    lines = Path("out.csv").read_text().splitlines()
    assert len(lines) == 3
    assert ",toy-sum,mse," in lines[1]


def test_sync_fills_another_store(harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, table, _ = harness("run", "toys.toml", "--serial")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    code, out, _ = harness("sync", "toys")
    assert code == 0
    assert "8 trials are in MLflow" in out
    assert harness("report", "toys")[1].startswith(table.strip())


def test_report_without_the_study_folder_equals_the_stored_one(harness: Harness, tmp_path: Path) -> None:
    harness("run", "toys.toml", "--serial")
    kept = {path.name: path for path in Path("mlartifacts").rglob("report.*")}
    assert sorted(kept) == ["report.csv", "report.html", "report.json", "report.md", "report.parquet", "report.tex"]
    shutil.rmtree("runs")
    for name, path in kept.items():
        code, _, err = harness("report", "toys", "--output", f"new/{name}")
        assert code == 0, err
        assert (Path("new") / name).read_bytes() == path.read_bytes()


def test_report_writes_every_figure(harness: Harness) -> None:
    harness("run", "toys.toml", "--serial")
    assert harness("report", "toys", "--format", "csv", "--figures", "figures")[0] == 0
    drawn = sorted(path.name for path in Path("figures").iterdir())
    assert drawn == ["best-of-k-toy-sum.svg", "learning-toy-sum.svg", "scores-toy-sum.svg"]


def test_report_of_several_studies_holds_each(harness: Harness) -> None:
    harness("run", "toys.toml", "--serial", "--models", "toy-ema")
    harness("run", "toys.toml", "--serial", "-s", 'name="other"', "-s", "tasks.0.length=9")
    code, out, _ = harness("report", "toys", "other", "toys")
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith("# ")] == [
        "# toys",
        "# other",
        "# Across tasks, protocol fair",
    ]
    code, _, err = harness("report", "toys", "other", "--id", "0123")
    assert code == 2
    assert "--id 0123 selects among studies of the same name" in err


def test_report_after_fresh_is_of_the_new_study_and_names_the_old(harness: Harness) -> None:
    harness("run", "toys.toml", "--serial", "--models", "toy-ema")
    old = re.findall(r"Study ([0-9a-f]{12})", harness("report", "toys")[1])
    harness("run", "toys.toml", "--serial", "--fresh", "-s", "search.seed=5", "--models", "toy-ema")
    _, out, _ = harness("report", "toys")
    assert "seed 5" in out
    assert f"this is the requested or newest one. Others: {old[0]}." in out
    _, again, _ = harness("report", "toys", "--id", old[0])
    assert f"Study {old[0]}: protocol fair, sampler random, seed 0." in again


def test_report_of_unequal_budgets_failures_and_a_missing_cell_says_what_it_refuses(harness: Harness) -> None:
    broken = 'models=["toy-ema", "toy-stack", {name="toy-ema", as="nan", space={fault="nan"}}]'
    tasks = ("-s", 'tasks=[{name="toy-sum", parameters=161}, {name="toy-ragged", parameters=161, longest=19}]')
    assert harness("run", "toys.toml", "--serial", "-s", broken, *tasks)[0] == 1
    harness("run", "toys.toml", "--serial", "--models", "toy-ema", *tasks, "-s", "budget.repetitions=3")
    code, out, _ = harness("report", "toys")
    assert code == 0
    assert "- toy-ema: capped to the common budget, the first 2 of 3 repetitions." in out
    assert "FAILED: 2 diverged" in out
    assert "No model is ranked across tasks" in out  # nan is ranked on neither task
    audit = out[out.index("### Budget allocated and used") :]
    assert "| toy-ema | 2/2 (2 complete) | 3/3 (3 complete) |" in audit
    assert "| nan | 2/2 (2 diverged) | 0/2 |" in audit


def test_report_of_a_running_study_shows_how_complete_it_is(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    whole = StudyController.tell

    def tell(self: StudyController, trial: Trial, result: TrialResult) -> None:
        whole(self, trial, result)
        if trial.phase == "final" and not seen:
            uri = f"sqlite:///{Path.cwd()}/meanwhile.db"  # the run's own store has one writer
            Tracker(self.ledger, uri).sync()
            seen.append(to_markdown(build_report(read_store(uri, "toys"))))

    monkeypatch.setattr(StudyController, "tell", tell)
    harness("run", "toys.toml", "--serial", "--models", "toy-ema")
    assert "0 of 1 cells are complete" in seen[0]
    assert "| toy-ema | incomplete 3/4 |" in seen[0]


def test_train_prints_the_curve(harness: Harness) -> None:
    code, out, err = harness("train", "toy-sum", "toy-ema", "parameters=161", "updates=8", "batch_size=8", "clip=none")
    assert code == 0, err
    assert "161 parameters" in out
    assert "clip=none" in out
    assert "best validation" in out


def test_plan_shows_widths_deviation_and_receptive_field(harness: Harness) -> None:
    code, out, _ = harness("plan", "toys.toml", "--draws", "2")
    assert code == 0
    assert "+0.00%" in out
    assert re.search(r"receptive.*needed", out, re.DOTALL)
    assert "nan" not in out.lower()
    assert not Path("runs").exists()
    assert not Path("mlflow.db").exists()


def test_plan_measures_the_cells_and_says_which_could_not_be(harness: Harness) -> None:
    code, out, err = harness("plan", "toys.toml", "--measure")
    assert code == 0
    assert [line for line in err.splitlines() if "measuring" in line] == [
        "harness: measuring toy-sum/toy-ema", "harness: measuring toy-sum/toy-stack",
    ]  # fmt: skip
    assert "estimate from 2 measured cells: " in out
    models = "models=['toy-stack', {name='toy-ema',space={fault='raise'}}]"
    code, out, err = harness("plan", "toys.toml", "--measure", "-s", models)
    assert code == 0
    assert "harness: not measured: toy-sum/toy-ema-fault-raise: failed (ValueError: " in err
    assert "estimate from 1 measured cell, others from parameter counts at" in out
    assert "--measure times each cell" in harness("plan", "toys.toml")[1]
    assert "`harness run` on" not in harness("plan", "toys.toml", "-s", "resources.gpu=1")[1]
    assert not Path("runs").exists()


@pytest.mark.usefixtures("harness")
def test_json_of_a_measured_plan_stays_json_if_a_task_prints(installed_toys: Path) -> None:
    toys = installed_toys / "installed_toys.py"
    line = "count = self.sequences // SHARES[split]"
    toys.write_text(toys.read_text().replace(line, f"print('hello'); {line}"))
    finished = subprocess.run(
        [sys.executable, "-m", "harness", "plan", "toys.toml", "--measure", "--json"],
        env={**os.environ, "PYTHONPATH": str(installed_toys)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [cell["measured"] for cell in json.loads(finished.stdout)] == [True, True]
    assert "hello" in finished.stderr


def test_show_prints_floor_published_values_and_space(harness: Harness) -> None:
    code, out, _ = harness("show", "toy-sum")
    assert code == 0
    assert "floor" in out
    assert "published" in out
    assert "searches" in harness("show", "toy-ema")[1]


class Undescribed(ToyEma):
    name: ClassVar[str] = "undescribed"


def test_headline_of_a_class_without_a_docstring_is_its_name() -> None:
    assert headline(ToyEma()).startswith("toy-ema: One level.")
    assert headline(Undescribed()) == "undescribed"


def test_show_prints_all_of_a_published_setting_at_the_given_options(harness: Harness) -> None:
    line = next(line for line in harness("show", "toy-sum")[1].splitlines() if "toy-ema: " in line)
    for text in ("widths 40", "bias=True", "adam", "clip 1", "cosine schedule", "batch 8, 4 epochs", "assumed: clip"):
        assert text in line
    longer = harness("show", "toy-sum", "length=9")[1]
    assert "length=9" in longer
    assert "toy-ema: none published" in longer


BAD = {
    "unknown key": (["run", "toys.toml", "-s", "budget.trails=3"], "did you mean 'trials'?"),
    "unknown model": (["run", "toys.toml", "-s", 'models=["toy-emu"]'], "did you mean 'toy-ema'?"),
    "unknown task": (["run", "toys.toml", "-s", "tasks.0.name=toy-sun"], "did you mean 'toy-sum'?"),
    "unknown option": (["run", "toys.toml", "-s", "tasks.0.lenght=3"], "did you mean 'length'?"),
    "string for number": (["run", "toys.toml", "-s", 'budget.trials="3"'], "budget.trials"),
    "label": (["run", "toys.toml", "-s", 'tasks.0.as="../../x"'], "a label has only"),
    "budget": (["run", "toys.toml", "-s", "tasks.0.parameters=2"], "no width meets 2 parameters"),
    "no such file": (["run", "nothing.toml"], "no such file"),
    "not TOML": (["run", "broken.toml"], "not a TOML file"),
    "unwritable": (["run", "toys.toml", "--runs", "file"], "cannot be created"),
    "report of nothing": (["report", "nothing"], "no such MLflow store"),
    "sync of nothing": (["sync", "nothing"], "no such study"),
    "parquet to a terminal": (["report", "toys", "--format", "parquet"], "give --output FILE"),
    "format": (["report", "toys", "--format", "markdwon"], "did you mean 'markdown'?"),
    "show": (["show", "toy-sim"], "did you mean 'toy-sum'?"),
    "show option": (["show", "toy-sum", "lenth=9"], "did you mean 'length'?"),
    "show model": (["show", "toy-ema", "length=9"], "a model has no options, got 'length=9'"),
    "tasks": (["run", "toys.toml", "--tasks", "toy-sun"], "has no task 'toy-sun'; did you mean 'toy-sum'?"),
    "profile": (["run", "toys.toml", "--profile", "smok"], "did you mean 'smoke'?"),
    "train key": (["train", "toy-sum", "toy-ema", "update=3"], "did you mean 'updates'?"),
    "train space": (["train", "toy-sum", "toy-ema", "clip=77"], "outside its space"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(harness: Harness, case: str) -> None:
    Path("broken.toml").write_text("name = [")
    Path("file").write_text("")
    arguments, message = BAD[case]
    code, _, err = harness(*arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1, err
    assert not Path("runs").exists()


def test_help_and_version_import_no_torch() -> None:
    """In a new interpreter, as a shell user starts it."""
    script = (
        "import sys; from harness.cli.main import main\n"
        "sys.argv = ['harness', sys.argv[1]]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'mlflow', 'optuna', 'pandas', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    for argument in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", script, argument], capture_output=True, text=True, check=False, env={**os.environ}
        )
        assert done.returncode == 0, done.stderr


def test_every_command_has_a_help_text(harness: Harness) -> None:
    _, out, _ = harness("--help")
    for command in ("run", "plan", "list", "show", "train", "report", "sync", "ui", "data"):
        assert command in out
        text = harness(command, "--help")[1]
        assert len(text.splitlines()) > 5


def test_json_is_for_programs_and_says_what_the_text_says(harness: Harness) -> None:
    listed = json.loads(harness("list", "--json")[1])
    assert {entry["name"] for entry in listed if entry["kind"] == "model"} == {"toy-ema", "toy-stack"}
    assert {entry["plugin"] for entry in listed if entry["kind"] != "sampler"} == {"seqharness-toys"}
    samplers = {(entry["name"], entry["plugin"]) for entry in listed if entry["kind"] == "sampler"}
    assert samplers == {(name, "seqharness") for name in CORE_SAMPLERS}
    task = json.loads(harness("show", "toy-sum", "length=9", "--json")[1])
    assert (task["kind"], task["options"]["length"], task["metric"]["name"]) == ("task", 9, "mse")
    model = json.loads(harness("show", "toy-ema", "--json")[1])
    assert "dropout" in model["tasks"]["toy-sum"]["space"]
    planned = json.loads(harness("plan", "toys.toml", "--json")[1])
    assert [(cell["model"], cell["budget"], cell["trials"]) for cell in planned] == [
        ("toy-ema", 161, 2), ("toy-stack", 161, 2),
    ]  # fmt: skip
    harness("run", "toys.toml", "--serial")
    report = json.loads(harness("report", "toys", "--json")[1])
    assert [cell["rank"] for cell in report if cell["state"] == "complete"] in ([1, 2], [2, 1])
    assert all(isinstance(cell["test_mean"], float) for cell in report)
    code, out, _ = harness(
        "recommend", "toy-sum", "--budget", "161", "--trials", "1", "--repetitions", "2", "updates=8", "--serial",
        "--json", "-s", "budget.tolerance=0.1", "-s", "training.evaluations=2",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)["candidates"][0]["model"] in ("toy-ema", "toy-stack")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("report", "toys", "--output", "table.xlsx"),
            "--output table.xlsx: give --format, or an ending that names one",
        ),
        (("predict", "toys", "rows.csv", "-o", "out.xlsx"), "give a file that ends in .csv or .parquet"),
    ],
)
def test_ending_that_names_no_format_is_refused_before_anything_is_done(
    harness: Harness, arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = harness(*arguments)
    assert code == 2
    assert message in err


def test_model_of_any_study_is_found_by_folder_and_by_name(harness: Harness) -> None:
    harness("run", "toys.toml", "--serial", "-s", "training.updates=20")
    Path("rows.csv").write_text("a,b\n1,2\n")
    for study in ("toys", "runs/toys"):
        code, _, err = harness("predict", study, "rows.csv")
        assert code == 2
        assert "task 'toy-sum' reads no rows of your own" in err
    code, _, err = harness("predict", "toys", "rows.csv", "--model", "toy-em")
    assert "no model 'toy-em' with trained models; did you mean 'toy-ema'?" in err


def test_quiet_shows_the_result_alone_and_verbose_every_evaluation(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "handlers", [])  # of other tests, and of this one after it
    monkeypatch.setattr(logger, "level", logger.level)
    once = ("-s", "budget.trials=1", "-s", "budget.repetitions=1", "--models", "toy-ema", "--serial")
    code, out, err = harness("run", "toys.toml", *once, "--quiet", "--runs", "quiet")
    assert (code, err) == (0, "")
    assert "| toy-ema |" in out
    code, verbose_out, err = harness("run", "toys.toml", *once, "-v", "--runs", "verbose")
    assert code == 0
    assert [line for line in verbose_out.splitlines() if "| toy-ema |" in line]
    evaluations = re.findall(r"^toy-sum/toy-ema (?:search|final) 0: update (\d+), training loss", err, re.MULTILINE)
    assert evaluations == ["4", "8", "4", "8"]
    assert len(re.findall(r": update \d+", Path("verbose/toys/study.log").read_text())) == 4
    assert ": update" not in Path("quiet/toys/study.log").read_text()
    code, out, err = harness("run", "toys.toml", "-v", "-q")
    assert (code, out) == (2, "")
    assert err == "harness: --verbose shows more and --quiet less; give only one of them\n"


def test_log_of_a_race_has_what_the_race_says_between_its_rounds(harness: Harness) -> None:
    code, _, err = harness(
        "recommend", "toy-sum", "--budget", "161", "--trials", "1", "--repetitions", "2", "updates=8", "--serial",
        "-s", "budget.tolerance=0.1", "-s", "training.evaluations=2",
    )  # fmt: skip
    assert code == 0
    log = Path("runs/recommend-toy-sum/study.log").read_text().splitlines()
    said = [line.removeprefix("recommend: ") for line in err.splitlines() if line.startswith("recommend: ")]
    trials = [line for line in err.splitlines() if line.startswith("[")]
    assert said
    assert trials
    assert [sum(line.endswith(f" INFO {text}") for line in log) for text in (*said, *trials)] == [1] * (
        len(said) + len(trials)
    )
