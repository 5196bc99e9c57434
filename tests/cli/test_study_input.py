"""The study that a command line names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli.actions.recommend import ModelChoice
from harness.cli.actions.study_input import StudyRequest, dataset_request, names, read
from harness.errors import StudyError
from harness.ledger.folder import STUDY_FILE
from harness.study.from_data import DataRequest

STUDY = 'name = "s"\nmodels = ["tcn", "gru"]\n[[tasks]]\nname = "copy-memory"\n[[tasks]]\nname = "adding"\n'


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyRequest:
    """A study file in the working folder."""
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text(STUDY)
    return StudyRequest(Path("s.toml"), None, (), None, None, None, Path("runs"))


def test_study_file_is_read_with_the_options_of_the_command(request_: StudyRequest) -> None:
    study = read(replace(request_, overrides=("budget.trials=3",), models="gru , rnn", tasks="adding"))
    assert study.budget.trials == 3
    assert [entry.name for entry in study.models] == ["gru", "rnn"]
    assert [entry.name for entry in study.tasks] == ["adding"]
    assert read(replace(request_, profile="smoke")).name == "s-smoke"


def keep(folder: str, *, name: str = "s") -> None:
    """Write the study file of a study that has run."""
    Path(folder).mkdir(parents=True)
    Path(folder, STUDY_FILE).write_text(STUDY.replace('"s"', f'"{name}"'))


def test_name_is_a_study_in_the_folder_of_the_runs(request_: StudyRequest) -> None:
    keep("runs/mine", name="mine")
    assert read(replace(request_, study=Path("mine"))).name == "mine"
    Path("mine").write_text(STUDY)
    assert read(replace(request_, study=Path("mine"))).name == "s", "a file of this name takes precedence"
    with pytest.raises(StudyError, match="other: no such file"):
        read(replace(request_, study=Path("other")))


def test_name_with_a_dot_is_a_study_in_the_folder_of_the_runs(request_: StudyRequest) -> None:
    keep("runs/v0.5", name="v0.5")
    for given in ("v0.5", "runs/v0.5", "runs/v0.5/study.toml"):
        assert read(replace(request_, study=Path(given))).name == "v0.5"
    assert ModelChoice(Path("v0.5"), None, None, Path("runs")).folder == Path("runs/v0.5")
    with pytest.raises(StudyError, match=r"v0\.6: no such file"):
        read(replace(request_, study=Path("v0.6")))


def test_earlier_study_is_not_resumed_in_the_place_of_the_present_one(request_: StudyRequest) -> None:
    keep("runs/s.0123456789ab")
    earlier = replace(request_, study=Path("s.0123456789ab"))
    with pytest.raises(
        StudyError,
        match=r"^runs/s\.0123456789ab: a run of study 's' goes to runs/s, not to this folder; give s to resume",
    ):
        read(earlier)
    assert read(replace(earlier, overrides=("name=again",))).name == "again"


def test_copy_of_a_study_is_resumed_in_its_own_place_alone(request_: StudyRequest) -> None:
    keep("backup/s")
    copied = replace(request_, study=Path("backup/s"))
    with pytest.raises(
        StudyError, match=r"^backup/s: a run of study 's' goes to runs/s, .*, --runs /.*/backup to resume"
    ):
        read(copied)
    assert read(replace(copied, runs=Path("backup"))).name == "s"


def test_study_may_be_a_link_to_a_folder_of_another_name(request_: StudyRequest) -> None:
    keep("large/volume")
    Path("runs").mkdir(exist_ok=True)
    Path("runs/s").symlink_to(Path("large/volume").resolve())
    assert read(replace(request_, study=Path("s"))).name == "s"


def test_missing_or_ambiguous_study_is_refused(request_: StudyRequest) -> None:
    dataset = DataRequest(Path("d.csv"), 1000)
    with pytest.raises(StudyError, match="no study is given; name its file"):
        read(replace(request_, study=None))
    with pytest.raises(StudyError, match=r"--data d\.csv makes a study of its own; leave out s\.toml"):
        read(replace(request_, dataset=dataset))
    with pytest.raises(StudyError, match=r"--data d\.csv makes a study of its own; leave out --tasks"):
        read(replace(request_, study=None, dataset=dataset, tasks="adding"))


def test_dataset_needs_a_file_and_a_size() -> None:
    assert dataset_request(None, target=None, budget=None, task=None) is None
    assert dataset_request(Path("d.csv"), target="y", budget="2k", task=None) == DataRequest(
        Path("d.csv"), (2000,), target="y"
    )
    with pytest.raises(StudyError, match=r"--data d\.csv: the size of the networks is missing"):
        dataset_request(Path("d.csv"), target="y", budget=None, task=None)
    with pytest.raises(StudyError, match="--budget describes a dataset of your own; give --data FILE with it"):
        dataset_request(None, target=None, budget="2k", task=None)


@pytest.mark.parametrize(("text", "listed"), [(None, None), ("", []), ("a", ["a"]), (" a ,,b, ", ["a", "b"])])
def test_names_are_split_at_commas(text: str | None, listed: list[str] | None) -> None:
    assert names(text) == listed
