"""The schema of a study file: defaults, unknown keys and bad values."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from harness.records import Resources
from harness.study.schema import TrainingSection
from tests.support.study_files import TASK, fault_of, read_text

PARAMETERS = (
    "'tasks.0.parameters' must be \"published\", a whole number of at least 1, or a list of different such numbers"
)
HALVING = '[search]\npruning = { kind = "successive-halving", '


def test_defaults_are_those_of_the_documentation(file: Path) -> None:
    study = read_text(file, TASK)
    assert (study.protocol, study.budget.trials, study.budget.repetitions, study.budget.tolerance) == (
        "fair",
        20,
        5,
        0.01,
    )
    assert (study.search.sampler, study.search.seed, study.resources) == ("random", 0, Resources(cpu=1, gpu=0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae = 1\n" + TASK, "unknown key 'nmae'; did you mean 'name'? Known: budget, models, name, protocol,"),
        (TASK + "[budget]\ntrails = 2", "unknown key 'budget.trails'; did you mean 'trials'? Known: allow_deviation,"),
        (TASK + "[training]\nupdate = 2", "unknown key 'training.update'; did you mean 'updates'?"),
        (TASK + "training = { update = 2 }", "unknown key 'tasks.0.training.update'; did you mean 'updates'?"),
        (TASK + "resources = { cpus = 2 }", "unknown key 'tasks.0.resources.cpus'; did you mean 'cpu'? Known: check"),
        (TASK + "[resources]\ngpus = 2", "unknown key 'resources.gpus'; did you mean 'gpu'?"),
        (TASK + "[search]\nsamler = 'tpe'", "unknown key 'search.samler'; did you mean 'sampler'?"),
        (TASK + "[training.schedule]\nknd = 'step'", "unknown key 'training.schedule.knd'; did you mean 'kind'?"),
        (TASK.replace('"tcn"', '{ nam = "tcn" }'), "unknown key 'models.0.nam'; did you mean 'name'?"),
        (TASK.replace('"tcn"', '{ name = "tcn", label = "x" }'), "unknown key 'models.0.label'; Known: as, name,"),
    ],
)
def test_unknown_key_is_named_with_what_is_close(file: Path, text: str, message: str) -> None:
    assert fault_of(file, text).startswith(message)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('[budget]\ntrials = "20"', "'budget.trials' must be a whole number, got '20'"),
        ("[budget]\ntrials = 20.0", "'budget.trials' must be a whole number, got 20.0"),
        ("[budget]\ntrials = true", "'budget.trials' must be a whole number, got true"),
        ("[budget]\ntrials = 0", "'budget.trials' must be at least 1, got 0"),
        ("[budget]\nrepetitions = -1", "'budget.repetitions' must be at least 1, got -1"),
        ("[budget]\ntolerance = 1", "'budget.tolerance' must be less than 1, got 1"),
        ("[budget]\ntolerance = 0", "'budget.tolerance' must be greater than 0, got 0"),
        ("[budget]\ntolerance = nan", "'budget.tolerance' must be less than 1, got nan"),
        ('[budget]\ntolerance = "1 %"', "'budget.tolerance' must be a number, got '1 %'"),
        ("[training]\nseconds = inf", "'training.seconds' must be a finite number, got inf"),
        ("[training]\nepochs = nan", "'training.epochs' must be a finite number, got nan"),
        ("[training]\nepochs = inf", "'training.epochs' must be a finite number, got inf"),
        ("[training]\nupdates = 5\nepochs = 2", "'training': give updates or epochs, not both"),
        ('[training]\nschedule = "cosine"', "'training.schedule' must be a table, got 'cosine'"),
        ("[training.schedule]\nfactor = 1", "'training.schedule.factor' must be less than 1, got 1"),
        (
            '[training.schedule]\nkind = "cosin"',
            "'training.schedule.kind' must be 'constant', 'step', 'plateau' or 'cosine', got 'cosin'; "
            "did you mean 'cosine'?",
        ),
        ("[search]\nseed = -1", "'search.seed' must be at least 0, got -1"),
        (
            '[search]\npruning = "asha"',
            '\'search.pruning\' must be "none" or a table: { kind = "successive-halving", minimum_updates = 200 }, '
            "got 'asha'",
        ),
        ("[search]\npruning = {}", "'search.pruning.kind' is missing"),
        (HALVING + "minimum_updates = 0 }", "'search.pruning.minimum_updates' must be at least 1, got 0"),
        (HALVING + "minimum_updates = 5, reduction = 1 }", "'search.pruning.reduction' must be at least 2, got 1"),
        (
            HALVING + "minimum_update = 5 }",
            "unknown key 'search.pruning.minimum_update'; did you mean 'minimum_updates'? "
            "Known: kind, minimum_updates, reduction",
        ),
        ('[search]\npruning = { kind = "asha" }', "'search.pruning.kind' must be 'successive-halving', got 'asha'"),
        ('[search]\nspace = ["adam"]', "'search.space' must be a table, got a list"),
        (
            "[search.space]\nclip = []",
            "'search.space.clip' must be a number, a string, true, false, or a list of such values that is not empty, "
            "got an empty list",
        ),
        ("[resources]\ngpu = -1", "'resources.gpu' must be at least 0, got -1"),
        ("[resources]\ncpu = 0", "'resources.cpu' must be greater than 0, got 0"),
        ("[resources]\ncpu = inf", "'resources.cpu' must be a finite number, got inf"),
        ('[resources]\nmemory_gib = "4G"', "'resources.memory_gib' must be a number, got '4G'"),
        ("parameters = 0", f"{PARAMETERS}, got 0"),
        ("parameters = 7e4", f"{PARAMETERS}, got 70000.0"),
        (
            'parameters = "publised"',
            f"{PARAMETERS}, got 'publised'",
        ),
        ("training = 3", "'tasks.0.training' must be a table, got 3"),
        ("training = { updates = 5, epochs = 2 }", "'tasks.0.training': give updates or epochs, not both"),
        ("length = [1, 2]", "'tasks.0.length' must be a number, a string, true or false, got a list"),
        ("when = 2020-01-01", "'tasks.0.when' must be a number, a string, true or false, got 2020-01-01"),
    ],
)
def test_bad_value_is_reported_in_one_line(file: Path, lines: str, message: str) -> None:
    assert fault_of(file, TASK + lines) == message


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("[]", "'models' must be a list with at least one entry, got an empty list"),
        ('"tcn"', "'models' must be a list, got 'tcn'"),
        ("3", "'models' must be a list, got 3"),
        ("[3]", "'models.0' must be a table, got 3"),
        ("[{ name = 3 }]", "'models.0.name' must be a string, got 3"),
        ("[{ space = {} }]", "'models.0.name' is missing"),
        ('["tcn", { name = "tcn", space = 3 }]', "'models.1.space' must be a table, got 3"),
        (
            '[{ name = "tcn", setting = "publised" }]',
            "'models.0.setting' must be 'searched', 'published' or 'published-second', got 'publised';"
            " did you mean 'published'?",
        ),
        (
            '[{ name = "tcn", space = { k = { a = 1 } } }]',
            "'models.0.space.k' must be a number, a string, true, false, or a list of such values that is not empty, "
            "got a table",
        ),
    ],
)
def test_bad_models_are_reported_in_one_line(file: Path, models: str, message: str) -> None:
    assert fault_of(file, TASK.replace('["tcn"]', models)) == message


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ("", "'tasks' is missing"),
        ("tasks = []", "'tasks' must be a list of tables, each begun with [[tasks]], got an empty list"),
        ('tasks = "x"', "'tasks' must be a list of tables, each begun with [[tasks]], got 'x'"),
        ('[tasks]\nname = "x"', "'tasks' must be a list of tables, each begun with [[tasks]], got a table"),
        ('tasks = ["x"]', "'tasks.0' must be a table, got 'x'"),
        ("[[tasks]]", "'tasks.0.name' is missing"),
    ],
)
def test_bad_tasks_are_reported_in_one_line(file: Path, tasks: str, message: str) -> None:
    assert fault_of(file, f'name = "s"\nmodels = ["tcn"]\n{tasks}') == message


@pytest.mark.parametrize("label", ["../../x", "..", "Jsb", "", "a b", "a/b", "a\\n"])
@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("name", TASK.replace('"s"', '"LABEL"')),
        ("models.0.as", TASK.replace('"tcn"', '{ name = "tcn", as = "LABEL" }')),
        ("tasks.0.as", TASK + 'as = "LABEL"'),
    ],
)
def test_label_that_could_leave_the_folder_is_refused(file: Path, label: str, where: str, text: str) -> None:
    given = label.replace("\\n", "\n")
    assert fault_of(file, text.replace("LABEL", label)) == (
        f"{where!r} is {given!r}; a label has only a-z, 0-9, '.' and '-', and begins with a letter or digit"
    )


def test_label_of_more_than_100_characters_is_refused(file: Path) -> None:
    message = fault_of(file, TASK + f'as = "{"a" * 101}"')
    assert message.startswith("'tasks.0.as' must be a string of at most 100 characters, got 'aaa")
    assert len(message) < 150


def test_training_of_a_task_overrides_only_the_keys_that_it_gives() -> None:
    study = TrainingSection(updates=100, batch_size=8, patience=5)
    assert study.overridden_by(TrainingSection(batch_size=4)) == TrainingSection(updates=100, batch_size=4, patience=5)


@pytest.mark.parametrize(("mine", "other"), list(itertools.permutations([{"updates": 10}, {"epochs": 2.0}])))
def test_one_length_replaces_the_other(mine: dict[str, Any], other: dict[str, Any]) -> None:
    section = TrainingSection(batch_size=4, **mine).overridden_by(TrainingSection(**other))
    assert section == TrainingSection(batch_size=4, **other)
