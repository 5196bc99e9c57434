from __future__ import annotations

import itertools
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import StudyError
from harness.records import Resources, Schedule
from harness.study.file import parse_study, read_study_file, study_toml
from harness.study.overrides import parse_assignment, parse_value
from harness.study.schema import Study, TrainingSection

STUDY = """\
name = "s"
models = ["tcn", { name = "gru", as = "wide" }]
[[tasks]]
name = "copy-memory"
length = 100
"""
TASK = """\
name = "s"
models = ["tcn"]
[[tasks]]
name = "copy-memory"
"""
JARGON = ("Input should", "Tuple", "literal[", "constrained", "valid dictionary", "instance of", "bool'", "Value error")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "s.toml"


def _fault(file: Path, text: str, *overrides: str) -> str:
    """The one line that a study file earns."""
    file.write_text(text)
    with pytest.raises(StudyError, match=r"^[^\n]+$") as caught:
        read_study_file(file, overrides)
    message = str(caught.value)
    assert not [word for word in JARGON if word in message]
    return message.removeprefix(f"{file}: ")


def _read(file: Path, text: str, *overrides: str) -> Study:
    file.write_text(text)
    return read_study_file(file, overrides)


def test_design_example_reads_whole(file: Path) -> None:
    study = _read(
        file,
        """
        name = "jsb-chorales"
        protocol = "fair"
        models = ["tcn", { name = "tcn", as = "tcn-k3", space = { kernel_size = [3] } }]

        [[tasks]]
        name = "jsb-chorales"
        parameters = "published"
        training = { updates = 4000 }

        [budget]
        trials = 20
        repetitions = 5
        tolerance = 0.01

        [training]
        updates = 2000
        batch_size = 16

        [search]
        sampler = "random"
        seed = 0

        [resources]
        cpu = 1
        gpu = 0
        """,
    )
    assert [(entry.name, entry.label, entry.space) for entry in study.models] == [
        ("tcn", None, {}),
        ("tcn", "tcn-k3", {"kernel_size": [3]}),
    ]
    assert study.tasks[0].training.updates == 4000
    assert study.training.updates == 2000
    assert study.tasks[0].resources is None


def test_defaults_are_those_of_the_documentation(file: Path) -> None:
    study = _read(file, TASK)
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
        (TASK + "[budget]\ntrails = 2", "unknown key 'budget.trails'; did you mean 'trials'? Known: repetitions,"),
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
    assert _fault(file, text).startswith(message)


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
        (
            '[search]\nsampler = "tpee"',
            "'search.sampler' must be 'random', 'tpe' or 'quasi-random', got 'tpee'; did you mean 'tpe'?",
        ),
        ("[search]\nseed = -1", "'search.seed' must be at least 0, got -1"),
        ('[search]\nspace = ["adam"]', "'search.space' must be a table, got a list"),
        (
            "[search.space]\nclip = []",
            "'search.space.clip' must be a number, a string, true, false, or a list of such that is not empty, "
            "got an empty list",
        ),
        ("[resources]\ngpu = -1", "'resources.gpu' must be at least 0, got -1"),
        ("[resources]\ncpu = 0", "'resources.cpu' must be greater than 0, got 0"),
        ("[resources]\ncpu = inf", "'resources.cpu' must be a finite number, got inf"),
        ('[resources]\nmemory_gib = "4G"', "'resources.memory_gib' must be a number, got '4G'"),
        ("parameters = 0", "'tasks.0.parameters' must be \"published\" or a whole number of at least 1, got 0"),
        ("parameters = 7e4", "'tasks.0.parameters' must be \"published\" or a whole number of at least 1, got 70000.0"),
        (
            'parameters = "publised"',
            "'tasks.0.parameters' must be \"published\" or a whole number of at least 1, got 'publised'",
        ),
        ("training = 3", "'tasks.0.training' must be a table, got 3"),
        ("training = { updates = 5, epochs = 2 }", "'tasks.0.training': give updates or epochs, not both"),
        ("length = [1, 2]", "'tasks.0.length' must be a number, a string, true or false, got a list"),
        ("when = 2020-01-01", "'tasks.0.when' must be a number, a string, true or false, got 2020-01-01"),
    ],
)
def test_bad_value_is_told_in_one_clear_line(file: Path, lines: str, message: str) -> None:
    assert _fault(file, TASK + lines) == message


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
            "'models.0.space.k' must be a number, a string, true, false, or a list of such that is not empty, "
            "got a table",
        ),
    ],
)
def test_bad_models_are_told_in_one_clear_line(file: Path, models: str, message: str) -> None:
    assert _fault(file, TASK.replace('["tcn"]', models)) == message


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
def test_bad_tasks_are_told_in_one_clear_line(file: Path, tasks: str, message: str) -> None:
    assert _fault(file, f'name = "s"\nmodels = ["tcn"]\n{tasks}') == message


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
    assert _fault(file, text.replace("LABEL", label)) == (
        f"{where!r} is {given!r}; a label has only a-z, 0-9, '.' and '-', and begins with a letter or digit"
    )


def test_label_of_more_than_100_characters_is_refused(file: Path) -> None:
    message = _fault(file, TASK + f'as = "{"a" * 101}"')
    assert message.startswith("'tasks.0.as' must be a string of at most 100 characters, got 'aaa")
    assert len(message) < 150


@pytest.mark.parametrize("text", ["name", "name = ", "= 3", TASK + "length = 1\nlength = 2", "x = " + "[" * 5000])
def test_what_is_no_toml_is_told(file: Path, text: str) -> None:
    assert _fault(file, text).startswith("not a TOML file (")


def test_bytes_that_are_no_text_are_told(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(StudyError, match=r"s\.toml: not a TOML file \('utf-8' codec"):
        read_study_file(file)


def test_missing_file_and_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"nowhere\.toml: no such file; the shipped ones are in studies/"):
        read_study_file(tmp_path / "nowhere.toml")
    with pytest.raises(StudyError, match=r"cannot be read \(Is a directory\)"):
        read_study_file(tmp_path)


@pytest.mark.parametrize(
    "where", ["", "budget", "training", "search", "resources", "tasks.0.training", "tasks.0.resources", "models.1"]
)
@pytest.mark.parametrize("value", ["x", 3, 1.5, True, [], [[]], {"a": {}}, None, float("nan")])
def test_no_value_in_any_place_escapes_as_anything_but_a_study_error(where: str, value: object) -> None:
    """Every known key of every section, given something arbitrary: accepted, or one line."""
    keys = {
        "": ("name", "protocol", "models", "tasks", "budget", "training", "search", "resources"),
        "budget": ("trials", "repetitions", "tolerance"),
        "training": ("updates", "epochs", "batch_size", "evaluations", "patience", "seconds", "schedule"),
        "search": ("sampler", "seed", "space"),
        "resources": ("cpu", "gpu", "memory_gib"),
        "models.1": ("name", "as", "setting", "space"),
    }
    for key in keys[where.removeprefix("tasks.0.")]:
        data: dict[str, Any] = tomllib.loads(STUDY)
        place: Any = data
        for part in where.split(".") if where else ():
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        place[key] = value
        try:
            parse_study(data, source="here")
        except StudyError as error:
            message = str(error)
            assert message.startswith("here: ")
            assert "\n" not in message
            assert not [word for word in JARGON if word in message]


# Overrides


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
    assert read(_read(file, STUDY, override))


def test_later_override_wins(file: Path) -> None:
    assert _read(file, STUDY, "budget.trials=3", "budget.trials=4").budget.trials == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budget.trials", "'budget.trials': expected key=value, as budget.trials=3"),
        ("=3", "'=3': expected key=value, as budget.trials=3"),
        ("budget.=3", "'budget.=3': 'budget.' has an empty part; expected key=value"),
        (".=3", "'.=3': '.' has an empty part; expected key=value"),
        ("name.x=3", "'name.x=3': name is a value, not a table"),
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
        ("tasks.length=3", "'tasks.length=3': name what to set in it, as tasks.0.length=200"),
        ("models.tcn=3", "'models.tcn=3': name what to set in it, as tasks.0.length=200"),
        ("tasks=3", "'tasks' must be a list of tables, each begun with [[tasks]], got 3"),
        ("models=tcn", "'models' must be a list, got 'tcn'"),
        ("search.seed=3\nname='x'", "'search.seed' must be a whole number, got \"3\\nname='x'\""),
    ],
)
def test_bad_override_is_told_in_one_clear_line(file: Path, override: str, message: str) -> None:
    # A line break of the override itself is shown escaped.
    assert _fault(file, STUDY, override).startswith(message)


def test_override_of_a_name_that_two_entries_have_is_refused(file: Path) -> None:
    text = STUDY.replace('"tcn",', '{ name = "tcn", as = "small" }, { name = "tcn", as = "tcn-k3" },')
    assert _fault(file, text, "models.tcn.setting=published").startswith(
        "'models.tcn.setting=published': 2 entries are called 'tcn'; use an index, from 0, or a label"
    )
    assert _read(file, text, "models.tcn-k3.setting=published").models[1].setting == "published"


def test_label_goes_before_another_entrys_name(file: Path) -> None:
    text = STUDY.replace('"tcn",', '{ name = "tcn", as = "gru" }, ').replace(', as = "wide"', ', as = "tcn"')
    study = _read(file, text, "models.gru.space.levels=2")
    assert [entry.space for entry in study.models] == [{"levels": 2}, {}]


def test_override_into_an_entry_of_another_shape_is_told(file: Path) -> None:
    text = TASK.replace('["tcn"]', "[{ name = [1] }]")
    assert _fault(file, text, "models.tcn.as=x").startswith("'models.tcn.as=x': there is no entry 'tcn'")
    assert _fault(file, text, "models.0.as=x") == "'models.0.name' must be a string, got a list"


def test_given_models_select_entries_by_label_or_stand_for_whole_models(file: Path) -> None:
    file.write_text(STUDY)
    study = read_study_file(file, models=["wide", "rnn", "tcn"])
    assert [(entry.name, entry.label) for entry in study.models] == [("gru", "wide"), ("rnn", None), ("tcn", None)]


def test_given_tasks_select_entries_by_label_or_name(file: Path) -> None:
    file.write_text(STUDY + '[[tasks]]\nname = "adding"\nas = "long"\n[[tasks]]\nname = "adding"\n')
    chosen = read_study_file(file, tasks=["adding", "copy-memory"]).tasks
    assert [(entry.name, entry.label) for entry in chosen] == [("adding", None), ("copy-memory", None)]
    assert [entry.label for entry in read_study_file(file, tasks=["long"]).tasks] == ["long"]
    with pytest.raises(
        StudyError, match="has no task 'adding-2'; did you mean 'adding'\\? Its tasks: copy-memory, long"
    ):
        read_study_file(file, tasks=["adding-2"])


def test_profile_replaces_the_values_of_a_study_and_of_its_tasks_and_names_itself(file: Path) -> None:
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


def test_profile_leaves_a_faulty_study_to_be_told_as_one(file: Path) -> None:
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
def test_value_of_the_command_line_is_toml_or_a_word(text: str, value: object) -> None:
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_assignment_keeps_later_equals_signs() -> None:
    assert parse_assignment("a.b = c=d") == ("a.b", "c=d")


# Sections


def test_task_training_overrides_what_it_gives_alone() -> None:
    study = TrainingSection(updates=100, batch_size=8, patience=5)
    assert study.overridden_by(TrainingSection(batch_size=4)) == TrainingSection(updates=100, batch_size=4, patience=5)


@pytest.mark.parametrize(("mine", "other"), list(itertools.permutations([{"updates": 10}, {"epochs": 2.0}])))
def test_one_length_replaces_the_other(mine: dict[str, Any], other: dict[str, Any]) -> None:
    section = TrainingSection(batch_size=4, **mine).overridden_by(TrainingSection(**other))
    assert section == TrainingSection(batch_size=4, **other)


LABELS = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,8}", fullmatch=True)
PLAIN = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(st.characters(codec="utf-8")))
SPACES = st.dictionaries(st.text(st.characters(codec="utf-8")), PLAIN | st.lists(PLAIN, min_size=1), max_size=2)
LENGTHS = st.one_of(
    st.fixed_dictionaries({}, optional={"updates": st.integers(1)}),
    st.fixed_dictionaries({}, optional={"epochs": st.floats(1e-3, 1e3)}),
)
SCHEDULES = st.fixed_dictionaries({"kind": st.sampled_from(["step", "cosine"])}, optional={"every": st.integers(1)})
TRAININGS = st.builds(
    lambda length, rest: {**length, **rest},
    LENGTHS,
    st.fixed_dictionaries(
        {},
        optional={
            "batch_size": st.integers(1),
            "patience": st.integers(1),
            "seconds": st.floats(1, 100),
            "schedule": SCHEDULES,
        },
    ),
)
AMOUNTS = st.fixed_dictionaries({}, optional={"cpu": st.floats(0.1, 64) | st.integers(1), "gpu": st.floats(0, 8)})
MODELS = LABELS | st.fixed_dictionaries(
    {"name": LABELS}, optional={"as": LABELS, "space": SPACES, "setting": st.sampled_from(["searched", "published"])}
)
TASKS = st.builds(
    lambda options, task: {**options, **task},
    st.dictionaries(st.sampled_from(["length", "a b", "é.", '"']), PLAIN),
    st.fixed_dictionaries(
        {"name": LABELS},
        optional={
            "as": LABELS,
            "parameters": st.integers(1) | st.just("published"),
            "training": TRAININGS,
            "resources": AMOUNTS,
        },
    ),
)
STUDIES = st.fixed_dictionaries(
    {
        "name": LABELS,
        "models": st.lists(MODELS, min_size=1, max_size=3),
        "tasks": st.lists(TASKS, min_size=1, max_size=2),
    },
    optional={
        "protocol": st.sampled_from(["fair", "paper"]),
        "budget": st.fixed_dictionaries({}, optional={"trials": st.integers(1), "tolerance": st.floats(1e-9, 0.5)}),
        "training": TRAININGS,
        "search": st.fixed_dictionaries({}, optional={"seed": st.integers(0), "space": SPACES}),
        "resources": AMOUNTS,
    },
)


@settings(max_examples=150, deadline=None)
@given(STUDIES)
def test_study_written_and_read_back_is_equal(data: dict[str, Any]) -> None:
    study = parse_study(data, source="here")
    text = study_toml(study)
    again = parse_study(tomllib.loads(text), source="there")
    assert again == study
    assert study_toml(again) == text
    # What a task leaves unsaid must stay unsaid: said, it would override the study's own section.
    for one, other in zip(study.tasks, again.tasks, strict=True):
        assert study.training.overridden_by(one.training) == again.training.overridden_by(other.training)


def test_written_study_says_its_defaults(file: Path) -> None:
    written = tomllib.loads(study_toml(_read(file, TASK)))
    assert written["budget"] == {"trials": 20, "repetitions": 5, "tolerance": 0.01}
    assert written["search"] == {"sampler": "random", "seed": 0, "space": {}}
    assert written["tasks"] == [{"name": "copy-memory"}]
