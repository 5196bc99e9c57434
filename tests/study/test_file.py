"""Study files: read, refused and written."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import StudyError
from harness.study.file import parse_study, read_study_file, study_toml
from tests.support.study_files import JARGON, STUDY, TASK, fault_of, read_text


def test_every_key_of_an_example_is_read(file: Path) -> None:
    study = read_text(
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


@pytest.mark.parametrize("text", ["name", "name = ", "= 3", TASK + "length = 1\nlength = 2", "x = " + "[" * 5000])
def test_text_that_is_not_toml_is_refused(file: Path, text: str) -> None:
    assert fault_of(file, text).startswith("not a TOML file (")


def test_bytes_that_are_not_text_are_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(StudyError, match=r"s\.toml: not a TOML file \('utf-8' codec"):
        read_study_file(file)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"nowhere\.toml: no such file; the shipped ones are in studies/"):
        read_study_file(tmp_path / "nowhere.toml")
    with pytest.raises(StudyError, match=r"cannot be read \(Is a directory\)"):
        read_study_file(tmp_path)


@pytest.mark.parametrize(
    "where", ["", "budget", "training", "search", "resources", "tasks.0.training", "tasks.0.resources", "models.1"]
)
@pytest.mark.parametrize("value", ["x", 3, 1.5, True, [], [[]], {"a": {}}, None, float("nan")])
def test_any_value_in_any_place_is_accepted_or_a_study_error(where: str, value: object) -> None:
    """Every known key of every section, given something arbitrary: accepted, or one line."""
    keys = {
        "": ("name", "protocol", "models", "tasks", "budget", "training", "search", "resources"),
        "budget": ("trials", "repetitions", "tolerance"),
        "training": ("updates", "epochs", "batch_size", "evaluations", "patience", "seconds", "schedule"),
        "search": ("sampler", "seed", "space", "pruning"),
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
    # Defaults of a task must not be written: they would override the study's own section.
    for first, second in zip(study.tasks, again.tasks, strict=True):
        assert study.training.overridden_by(first.training) == again.training.overridden_by(second.training)


def test_written_study_contains_its_defaults(file: Path) -> None:
    written = tomllib.loads(study_toml(read_text(file, TASK)))
    assert written["budget"] == {"trials": 20, "repetitions": 5, "tolerance": 0.01, "allow_deviation": False}
    assert written["search"] == {"sampler": "random", "seed": 0, "space": {}, "pruning": "none"}
    assert written["tasks"] == [{"name": "copy-memory"}]
