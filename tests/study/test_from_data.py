"""A user's own file: which task reads it, the study on it, and that every worker reads the same."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator

from harness.api.dataset import Arrays
from harness.api.model import Model
from harness.api.signature import Signature
from harness.api.task import DataFile, Task
from harness.data.files import own_file
from harness.errors import DataError, LedgerError, StudyError, UnknownNameError
from harness.execution.runner import Runner
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.execution.trial_source import TrialSource
from harness.ledger.journal import read_study
from harness.plugin.loader import Loaded
from harness.plugin.registry import Entry, Registry
from harness.study.file import parse_study, study_toml
from harness.study.from_data import (
    BATCH_SIZE,
    REPETITIONS,
    SMALL_BATCH_SIZE,
    TRIALS,
    DataRequest,
    parse_count,
    parse_counts,
    study_of_file,
)
from harness.study.plan import make_plan
from tests.conftest import make_trial
from tests.support.toys import ToyEma, ToySum


class ToyFile(ToySum):
    """A file that says how many sequences train."""

    name: ClassVar[str] = "toy-file"
    data: Annotated[str, AfterValidator(lambda path: str(Path(path).absolute()))]
    target: str | None = None

    @classmethod
    def reads(cls, file: Path) -> bool:
        return file.suffix == ".num"

    def training_sequences(self) -> int:
        (file,) = self.files()
        return int(Path(file.name).read_text())

    def files(self) -> tuple[DataFile, ...]:
        return (own_file(self.data),)

    def notes(self) -> tuple[str, ...]:
        return ("one line",)


class ToyFileToo(ToyFile):
    name: ClassVar[str] = "toy-file-too"


class NeverServes(ToyEma):
    name: ClassVar[str] = "never-serves"

    def unsupported(self, signature: Signature, **params: object) -> str | None:
        return "never"


@pytest.fixture
def loaded(toy_loaded: Loaded) -> Loaded:
    plugin = toy_loaded.registry.plugins[0]
    tasks: dict[str, Entry[type[Task]]] = {
        **toy_loaded.registry.tasks,
        ToyFile.name: Entry(ToyFile.name, ToyFile, plugin, "tests.study.test_from_data"),
    }
    return Loaded(replace(toy_loaded.registry, tasks=tasks), toy_loaded.hooks)


@pytest.fixture
def registry(loaded: Loaded) -> Registry:
    return loaded.registry


def numbered(folder: Path, count: int = 200, name: str = "My Data.num") -> Path:
    path = folder / name
    path.write_text(str(count))
    return path


def test_study_of_a_file_has_every_model_and_the_same_for_each(registry: Registry, tmp_path: Path) -> None:
    study = study_of_file(registry, DataRequest(numbered(tmp_path), 500))
    (task,) = study.tasks
    assert (study.name, task.label, task.name, task.parameters) == ("my-data", "my-data", "toy-file", 500)
    assert task.options == {"data": str(tmp_path / "My Data.num")}
    assert [entry.name for entry in study.models] == sorted(registry.models)
    assert (study.budget.trials, study.budget.repetitions) == (TRIALS, REPETITIONS)
    assert parse_study(tomllib.loads(study_toml(study)), "written") == study


@pytest.mark.parametrize(
    ("sequences", "batch_size", "updates"),
    [(30, SMALL_BATCH_SIZE, 500), (639, SMALL_BATCH_SIZE, 2000), (640, BATCH_SIZE, 1000), (100_000, BATCH_SIZE, 5000)],
)
def test_training_follows_from_how_many_sequences_there_are(
    sequences: int, batch_size: int, updates: int, registry: Registry, tmp_path: Path
) -> None:
    training = study_of_file(registry, DataRequest(numbered(tmp_path, sequences), 500)).training
    assert (training.batch_size, training.updates) == (batch_size, updates)


def test_epochs_are_given_in_place_of_the_updates_that_would_follow(registry: Registry, tmp_path: Path) -> None:
    request = DataRequest(numbered(tmp_path), 500, overrides=["training.epochs=3"])
    training = study_of_file(registry, request).training
    assert (training.epochs, training.updates) == (3, None)


@pytest.mark.parametrize(("parameters", "tolerance"), [(500, 0.05), (9_999, 0.05), (10_000, 0.01), (1_000_000, 0.01)])
def test_small_networks_may_deviate_by_more(
    registry: Registry, tmp_path: Path, parameters: int, tolerance: float
) -> None:
    assert study_of_file(registry, DataRequest(numbered(tmp_path), parameters)).budget.tolerance == tolerance
    chosen = DataRequest(numbered(tmp_path), parameters, overrides=["budget.tolerance=0.02"])
    assert study_of_file(registry, chosen).budget.tolerance == 0.02


def test_models_that_say_they_cannot_serve_are_left_out(registry: Registry, tmp_path: Path) -> None:
    plugin = registry.plugins[0]
    never: Entry[Model] = Entry("never-serves", NeverServes(), plugin, "")
    models = {**registry.models, "never-serves": never}
    study = study_of_file(replace(registry, models=models), DataRequest(numbered(tmp_path), 500))
    assert "never-serves" not in [entry.name for entry in study.models]
    named = study_of_file(
        replace(registry, models=models), DataRequest(numbered(tmp_path), 500, models=["never-serves"])
    )
    assert [entry.name for entry in named.models] == ["never-serves"]


def test_a_key_is_an_option_of_the_task_or_a_value_of_the_study(registry: Registry, tmp_path: Path) -> None:
    given = ["length=7", "budget.trials=3", "training.updates=9", "name=other"]
    study = study_of_file(registry, DataRequest(numbered(tmp_path), 500, target="y", overrides=given))
    assert study.tasks[0].options == {"data": str(tmp_path / "My Data.num"), "length": 7, "target": "y"}
    assert (study.name, study.budget.trials, study.training.updates) == ("other", 3, 9)


def test_errors_name_the_option_at_fault(registry: Registry, tmp_path: Path) -> None:
    path = numbered(tmp_path)
    with pytest.raises(
        StudyError, match="'lenght' is neither an option of toy-file nor a key of a study file; did you mean 'length'"
    ):
        study_of_file(registry, DataRequest(path, 500, overrides=["lenght=7"]))
    with pytest.raises(StudyError, match=r"no installed task reads files that end in '\.xyz'"):
        study_of_file(registry, DataRequest(tmp_path / "a.xyz", 500))
    with pytest.raises(
        StudyError, match=r"files without an ending; .*\(toy-file\) can read it, name that task: --task NAME"
    ):
        study_of_file(registry, DataRequest(tmp_path / "README", 500))
    with pytest.raises(StudyError, match="--task toy-sum: has no option 'data' and reads no file; choose another task"):
        study_of_file(registry, DataRequest(path, 500, task="toy-sum"))
    with pytest.raises(UnknownNameError, match="did you mean 'toy-file'"):
        study_of_file(registry, DataRequest(path, 500, task="toy-fil"))
    with pytest.raises(DataError, match=r"none\.num: cannot be read|No such file"):
        study_of_file(registry, DataRequest(tmp_path / "none.num", 500))


def test_one_of_several_tasks_is_to_be_chosen(registry: Registry, tmp_path: Path) -> None:
    too = Entry[type[Task]]("toy-file-too", ToyFileToo, registry.plugins[0], "")
    both = replace(registry, tasks={**registry.tasks, "toy-file-too": too})
    with pytest.raises(
        StudyError, match=r"several tasks read such files \(toy-file, toy-file-too\); choose one with --task"
    ):
        study_of_file(both, DataRequest(numbered(tmp_path), 500))
    assert (
        study_of_file(both, DataRequest(numbered(tmp_path), 500, task="toy-file-too")).tasks[0].name == "toy-file-too"
    )


@pytest.mark.parametrize(("text", "count"), [("50k", 50_000), ("1.2M", 1_200_000), ("50000", 50_000), ("2_000", 2_000)])
def test_budget_is_read(text: str, count: int) -> None:
    assert parse_count(text) == count


@given(count=st.integers(1, 10**9))
def test_whole_numbers_and_thousands_are_read_exactly(count: int) -> None:
    assert parse_count(str(count)) == count
    assert parse_count(f"{count}k") == 1000 * count


@pytest.mark.parametrize("text", ["", "0", "-5", "k", "1.5", "50 k", "1e5", "5g", "nan", "0.0001k"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(StudyError, match=r"not a number of parameters; give one, such as 50k, 1\.2M or 50000"):
        parse_count(text)


def test_several_budgets_are_read_in_ascending_order() -> None:
    assert parse_counts("80k,5k, 20000") == (5_000, 20_000, 80_000)
    assert parse_counts("50k") == (50_000,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5k,5000", "--budget '5k,5000': has 5,000 twice; give each size once"),
        ("5k,", "--budget '': not a number of parameters"),
        ("5k,published", "--budget 'published': not a number of parameters"),
        ("20,100", "--budget '20,100': one number or several? Write '20100' or '20, 100'"),
        ("50,000", "--budget '50,000': one number or several? Write '50000'"),
    ],
)
def test_bad_budgets_are_refused(text: str, message: str) -> None:
    with pytest.raises(StudyError) as caught:
        parse_counts(text)
    assert str(caught.value).startswith(message)


def test_several_sizes_make_a_task_per_size(registry: Registry, tmp_path: Path) -> None:
    study = study_of_file(registry, DataRequest(numbered(tmp_path), (500, 20_000)))
    assert study.tasks[0].sizes == (500, 20_000)
    assert study.budget.tolerance == 0.05  # that of the smallest network


# ---- a task that needs a file


def test_task_that_needs_a_file_does_not_stand_by_itself(registry: Registry) -> None:
    assert set(registry.default_tasks()) == {"toy-sum", "toy-ragged"}
    with pytest.raises(StudyError, match="task 'toy-file' needs the option 'data': data = …"):
        registry.make_task("toy-file", {})


def test_plan_keeps_whole_paths_under_the_label_that_was_written(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbered(tmp_path, name="a.num")
    monkeypatch.chdir(tmp_path)
    study = parse_study(
        {
            "name": "own",
            "models": ["toy-ema"],
            "tasks": [{"name": "toy-file", "data": "a.num", "parameters": 161}],
            "training": {"updates": 4},
        },
        "own.toml",
    )
    plan = make_plan(study, registry)
    (cell,) = plan.cells
    assert str(cell.cell) == "toy-file-data-a.num/toy-ema"
    assert cell.facts.task.options == {"data": str(tmp_path / "a.num")}
    assert cell.data == {str(tmp_path / "a.num"): own_file("a.num").sha256}
    monkeypatch.chdir("/")
    again = make_plan(plan.study, registry).cells[0]
    assert (again.cell, again.facts.fingerprint) == (cell.cell, cell.facts.fingerprint)


def nothing_to_deal(source: TrialSource) -> None:
    assert source.ask(lambda _: True) is None


def test_study_goes_on_from_another_folder_and_not_with_another_content(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = numbered(tmp_path, 64)
    monkeypatch.chdir(tmp_path)
    small = ["budget.trials=2", "budget.repetitions=1", "training.updates=4", "sequences=64"]
    study = study_of_file(loaded.registry, DataRequest(Path(path.name), 161, models=["toy-ema"], overrides=small))
    first = Runner(make_plan(study, loaded.registry), loaded, tmp_path / "runs")
    outcome = first.run(lambda source: run_serial(source, Worker(first.folder, loaded.registry)))
    assert outcome.complete
    assert read_study(outcome.folder).manifest.data == {str(path): own_file(path).sha256}
    monkeypatch.chdir("/")
    kept = parse_study(tomllib.loads((outcome.folder / "study.toml").read_text()), "kept")
    again = Runner(make_plan(kept, loaded.registry), loaded, tmp_path / "runs").run(nothing_to_deal)
    assert again.complete
    path.write_text("65")
    with pytest.raises(LedgerError, match="was started with other data"):
        Runner(make_plan(kept, loaded.registry), loaded, tmp_path / "runs").run(lambda source: None)


def test_worker_refuses_a_file_that_is_not_the_one_that_was_planned(registry: Registry, tmp_path: Path) -> None:
    path = numbered(tmp_path)
    task = ToyFile(data=str(path))
    planned = make_trial(data={str(path): "0" * 64})
    with pytest.raises(DataError, match=r"My Data.num on .* has sha256 .*, but the study was planned with 000"):
        Worker(tmp_path, registry).dataset(task, "train", planned)
    same = make_trial(data={str(path): own_file(path).sha256})
    assert isinstance(Worker(tmp_path, registry).dataset(task, "train", same), Arrays)


def test_task_without_new_rows_says_so(tmp_path: Path) -> None:
    task = ToySum()
    assert task.examples(tmp_path / "rows.csv", {}) is None
    assert task.answers(torch.zeros(1, 1), tmp_path / "rows.csv", {}) is None
    assert not ToySum.reads(tmp_path / "rows.csv")
    assert task.notes() == ()
