"""Changes to a study from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import StudyError
from harness.records import Schedule
from harness.study.file import read_study_file
from harness.study.overrides import parse_assignment, parse_value
from tests.support.study_files import STUDY, TASK, fault_of, read_text


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("budget.trials=3", lambda study: study.budget.trials == 3),
        (" budget.trials = 3 ", lambda study: study.budget.trials == 3),
        ("name=other", lambda study: study.name == "other"),
        ("search.sampler='tpe'", lambda study: study.search.sampler == "tpe"),
        ("search.space.clip=none", lambda study: study.search.space == {"clip": "none"}),
        ('search.space.optimizer=["adam"]', lambda study: study.search.space == {"optimizer": ["adam"]}),
        ("training.schedule.kind=step", lambda study: study.training.schedule == Schedule(kind="step")),
        ("tasks.0.length=300", lambda study: study.tasks[0].options == {"length": 300}),
        ("tasks.copy-memory.length=300", lambda study: study.tasks[0].options == {"length": 300}),
        ("tasks.0.training.updates=5", lambda study: study.tasks[0].training.updates == 5),
        ("tasks.0.length=none", lambda study: study.tasks[0].options == {}),
        ("models.tcn.space.kernel_size=[3, 5]", lambda study: study.models[0].space == {"kernel_size": [3, 5]}),
        ("models.0.as=x", lambda study: (study.models[0].name, study.models[0].label) == ("tcn", "x")),
        ("models.wide.space.levels=2", lambda study: study.models[1].space == {"levels": 2}),
        ("models.gru.space.levels=2", lambda study: study.models[1].space == {"levels": 2}),
        ("models.wide.as=none", lambda study: study.models[1].label is None),
        ('models=["rnn"]', lambda study: [entry.name for entry in study.models] == ["rnn"]),
        ("budget=none", lambda study: study.budget.trials == 20),
        ("training.patience=none", lambda study: study.training.patience is None),
    ],
)
def test_override_reaches_its_place(file: Path, override: str, read: Any) -> None:  # Any: lambdas over a study
    assert read(read_text(file, STUDY, override))


def test_later_override_wins(file: Path) -> None:
    assert read_text(file, STUDY, "budget.trials=3", "budget.trials=4").budget.trials == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budget.trials", "'budget.trials': expected key=value, such as budget.trials=3"),
        ("=3", "'=3': expected key=value, such as budget.trials=3"),
        ("budget.=3", "'budget.=3': 'budget.' has an empty part; expected key=value"),
        (".=3", "'.=3': '.' has an empty part; expected key=value"),
        ("name.x=3", "'name.x=3': name is a value, not a table; leave out the rest"),
        ("budget.trails=3", "unknown key 'budget.trails'; did you mean 'trials'?"),
        ("budget.trails=none", "unknown key 'budget.trails'; did you mean 'trials'?"),
        ("nmae=none", "unknown key 'nmae'; did you mean 'name'?"),
        ("name=none", "'name' is missing"),
        ("bugdet.trials=3", "unknown key 'bugdet'; did you mean 'budget'?"),
        ("budget.trials=many", "'budget.trials' must be a whole number, got 'many'"),
        ("budget.trials=", "'budget.trials' must be a whole number, got ''"),
        ("budget.trials.x=3", "'budget.trials' must be a whole number, got a table"),
        ("tasks.1.length=3", "'tasks.1.length=3': there is no entry '1'; use its index, from 0, or its name"),
        ("tasks.-1.length=3", "'tasks.-1.length=3': there is no entry '-1'; use its index, from 0, or its name"),
        ("models.lstm.as=x", "'models.lstm.as=x': there is no entry 'lstm'; use its index, from 0, or its name"),
        ("tasks.length=3", "'tasks.length=3': tasks is a list; name an entry and a key, as tasks.0.length=200"),
        ("models.tcn=3", "'models.tcn=3': models is a list; name an entry and a key, as tasks.0.length=200"),
        ("tasks=3", "'tasks' must be a list of tables, each begun with [[tasks]], got 3"),
        ("models=tcn", "'models' must be a list, got 'tcn'"),
        ("search.seed=3\nname='x'", "'search.seed' must be a whole number, got \"3\\nname='x'\""),
    ],
)
def test_bad_override_is_reported_in_one_line(file: Path, override: str, message: str) -> None:
    # A line break of the override itself is shown escaped.
    assert fault_of(file, STUDY, override).startswith(message)


def test_override_of_a_name_that_two_entries_have_is_refused(file: Path) -> None:
    text = STUDY.replace('"tcn",', '{ name = "tcn", as = "small" }, { name = "tcn", as = "tcn-k3" },')
    assert fault_of(file, text, "models.tcn.setting=published").startswith(
        "'models.tcn.setting=published': 2 entries are called 'tcn'; use an index, from 0, or a label"
    )
    assert read_text(file, text, "models.tcn-k3.setting=published").models[1].setting == "published"


def test_label_takes_precedence_over_a_name(file: Path) -> None:
    text = STUDY.replace('"tcn",', '{ name = "tcn", as = "gru" }, ').replace(', as = "wide"', ', as = "tcn"')
    study = read_text(file, text, "models.gru.space.levels=2")
    assert [entry.space for entry in study.models] == [{"levels": 2}, {}]


def test_override_into_an_entry_of_another_shape_is_reported(file: Path) -> None:
    text = TASK.replace('["tcn"]', "[{ name = [1] }]")
    assert fault_of(file, text, "models.tcn.as=x").startswith("'models.tcn.as=x': there is no entry 'tcn'")
    assert fault_of(file, text, "models.0.as=x") == "'models.0.name' must be a string, got a list"


def test_models_select_entries_by_label_or_add_whole_models(file: Path) -> None:
    file.write_text(STUDY)
    study = read_study_file(file, models=["wide", "rnn", "tcn"])
    assert [(entry.name, entry.label) for entry in study.models] == [("gru", "wide"), ("rnn", None), ("tcn", None)]


def test_tasks_select_entries_by_label_or_name(file: Path) -> None:
    file.write_text(STUDY + '[[tasks]]\nname = "adding"\nas = "long"\n[[tasks]]\nname = "adding"\n')
    chosen = read_study_file(file, tasks=["adding", "copy-memory"]).tasks
    assert [(entry.name, entry.label) for entry in chosen] == [("adding", None), ("copy-memory", None)]
    assert [entry.label for entry in read_study_file(file, tasks=["long"]).tasks] == ["long"]
    with pytest.raises(
        StudyError, match="has no task 'adding-2'; did you mean 'adding'\\? Its tasks: copy-memory, long"
    ):
        read_study_file(file, tasks=["adding-2"])


SIZES = '[[tasks]]\nname = "adding"\nparameters = [5_000, 20_000]\n'


def test_tasks_select_one_size_of_a_list(file: Path) -> None:
    file.write_text(STUDY + SIZES + SIZES.replace("\nparameters", '\nas = "long"\nlength = 400\nparameters'))
    chosen = read_study_file(file, tasks=["adding-20k", "long-5k"]).tasks
    assert [(entry.name, entry.label, entry.parameters) for entry in chosen] == [
        ("adding", "adding-20k", 20_000),
        ("adding", "long-5k", 5_000),
    ]
    assert chosen[1].options == {"length": 400}
    assert read_study_file(file, tasks=["adding"]).tasks[0].sizes == (5_000, 20_000)
    with pytest.raises(StudyError, match="did you mean 'adding-20k'\\?"):
        read_study_file(file, tasks=["adding-21k"])


def test_tasks_select_a_size_by_the_label_of_its_cells_alone(file: Path) -> None:
    """A label with options is made from their defaults, which a study file does not have."""
    file.write_text(STUDY + SIZES + "length = 400\n")
    with pytest.raises(StudyError, match="has no task 'adding-20k'"):
        read_study_file(file, tasks=["adding-20k"])


def test_profile_replaces_values_of_a_study_and_its_tasks_and_is_in_the_name(file: Path) -> None:
    file.write_text(
        STUDY
        + "training = { updates = 50, seconds = 9.0 }\n"
        + "[budget]\ntrials = 9\ntolerance = 0.02\n[search.space]\nclip = 1.0\n"
    )
    study = read_study_file(file, ["budget.trials=2"], profile="smoke")
    assert study.name == "s-smoke"
    assert (study.budget.trials, study.budget.repetitions, study.budget.tolerance) == (2, 1, 0.02)
    training = study.training.overridden_by(study.tasks[0].training)
    assert (training.updates, training.seconds, training.evaluation_limit) == (50, 20.0, 256)
    assert study.search.space == {"clip": 1.0, "learning_rate_factor": 1.0, "optimizer": "adam"}


@pytest.mark.parametrize(
    "changes", [('["tcn",', '[{ name = "tcn", setting = "published" },'), ('"s"', '"s"\nprotocol = "paper"')]
)
def test_profile_leaves_published_settings_their_optimiser(file: Path, changes: tuple[str, str]) -> None:
    file.write_text(STUDY.replace(*changes, 1))
    assert read_study_file(file, profile="smoke").search.space == {}


def test_profile_does_not_hide_the_faults_of_a_study(file: Path) -> None:
    file.write_text(STUDY.replace("length = 100", "training = 3") + "[[search]]\nspace = 2\n")
    with pytest.raises(StudyError, match=r"'(tasks\.0\.training|search)' must be a table"):
        read_study_file(file, profile="smoke")
    file.write_text("budget = 3\ntasks = 4\nsearch = { space = 3 }\n")
    with pytest.raises(StudyError, match=r"^[^\n]+$"):
        read_study_file(file, profile="smoke")
    with pytest.raises(StudyError, match="--profile 'smok': did you mean 'smoke'\\? Known: smoke"):
        read_study_file(file, profile="smok")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("3.0", 3.0),
        ("1_000", 1000),
        ("true", True),
        ("True", "True"),
        ("adam", "adam"),
        ("'3'", "3"),
        ("[1, 2]", [1, 2]),
        ("none", None),
        ('"none"', "none"),
        ("", ""),
        ("1\n[x]", "1\n[x]"),
        ("3 # three", 3),
    ],
)
def test_value_of_the_command_line_is_toml_or_a_string(text: str, value: object) -> None:
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_assignment_keeps_later_equals_signs() -> None:
    assert parse_assignment("a.b = c=d") == ("a.b", "c=d")
