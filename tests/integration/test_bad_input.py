"""Any input gives a plan, or one line with where, what and what to do; never a traceback, and never a started study."""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.cli.main import main
from harness.errors import HarnessError
from harness.execution.runner import Runner
from harness.plugin.loader import Loaded
from harness.study.file import parse_study, read_study_file, study_toml
from harness.study.plan import make_plan

STUDY = """
name = "toys"
models = ["toy-ema", "toy-stack"]

[[tasks]]
name = "toy-sum"
parameters = 161
length = 6

[budget]
trials = 2
repetitions = 2
tolerance = 0.1

[training]
updates = 8
batch_size = 8
evaluations = 2
schedule = { kind = "step", factor = 0.5 }

[search]
sampler = "random"
seed = 0
space = { clip = [0.25, "none"] }

[resources]
cpu = 1
gpu = 0
"""
JARGON = ("Traceback", "pydantic", "validation error", "Field", "errors.py", "<class", "NoneType")

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["none", "adam", "tcn", "published", "../../x", "[[", "=", "a.b", "ü" * 200, "x" * 500, "\x00", "\n"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = (
    "name", "protocol", "models", "tasks", "budget", "training", "search", "resources", "trials", "repetitions",
    "tolerance", "updates", "epochs", "batch_size", "evaluations", "patience", "minimum_updates", "seconds", "schedule",
    "kind", "factor", "every", "window", "start", "sampler", "seed", "space", "pruning", "reduction", "cpu", "gpu",
    "memory_gib", "hang_seconds", "checkpoint_seconds", "as", "setting", "parameters", "length", "sequences",
    "optimizer", "clip", "dropout", "learning_rate_factor", "bias", "layers", "scale", "fault", "0", "1", "-1",
    "toy-sum", "toy-ema", "",
)  # fmt: skip
PATHS = st.lists(st.sampled_from(KEYS) | st.text(max_size=5), min_size=1, max_size=4)


def set_at(data: Any, path: list[str], value: object) -> None:  # a tree of TOML, hence Any
    """Put a value at a path in the tables of a study, replacing what is in the way."""
    place = data
    for part in path[:-1]:
        if isinstance(place, list) and part.isdigit() and int(part) < len(place):
            place = place[int(part)]
        elif isinstance(place, dict):
            if not isinstance(place.get(part), dict | list):
                place[part] = {}
            place = place[part]
    if isinstance(place, dict):
        place[path[-1]] = value
    elif isinstance(place, list):
        place.append(value)


def check_message(error: HarnessError) -> None:
    message = str(error)
    assert "\n" not in message, message
    assert not [word for word in JARGON if word in message], message
    assert len(message) < 2000, message


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    """The number of inputs by their result; printed with -s."""
    counts: Counter[str] = Counter()
    yield counts
    print("\n" + ", ".join(f"{what}: {count}" for what, count in sorted(counts.items())))


LOOSE = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


LEAVES = [
    tuple(path.split("."))
    for path in [
        "name",
        "protocol",
        "models",
        "models.0",
        "tasks.0.name",
        "tasks.0.as",
        "tasks.0.parameters",
        "tasks.0.length",
        "tasks.0.sequences",
        "tasks.0.training.updates",
        "tasks.0.training.epochs",
        "tasks.0.resources.cpu",
        "budget.trials",
        "budget.repetitions",
        "budget.tolerance",
        "training.updates",
        "training.epochs",
        "training.batch_size",
        "training.evaluations",
        "training.patience",
        "training.minimum_updates",
        "training.seconds",
        "training.schedule.kind",
        "training.schedule.factor",
        "training.schedule.every",
        "training.schedule.window",
        "search.sampler",
        "search.seed",
        "search.space.clip",
        "search.space.optimizer",
        "search.space.dropout",
        "search.space.learning_rate_factor",
        "resources.cpu",
        "resources.gpu",
        "resources.memory_gib",
        "resources.hang_seconds",
        "resources.checkpoint_seconds",
    ]
]
LIKELY = st.one_of(
    st.integers(-1, 300),
    st.sampled_from([2**31, 2**63, 2**64, 10**30, -(10**30), 1e300, 5e-324, 0.0, -0.0, float("inf"), float("nan")]),
    st.floats(0, 1),
    st.booleans(),
    st.lists(
        st.one_of(st.integers(0, 3), st.floats(0, 1), st.booleans(), st.sampled_from(["none", "adam", "sgd"])),
        max_size=3,
    ),
    st.sampled_from(
        [
            "none",
            "adam",
            "sgd",
            "fair",
            "paper",
            "published",
            "toy-sum",
            "toy-ragged",
            "toy-ema",
            "x",
            "step",
            "cosine",
            "plateau",
            "random",
            "tpe",
            "quasi-random",
            "searched",
            "",
            "../x",
            "a" * 99,
            "A",
        ]
    ),
)


@given(changes=st.lists(st.tuples(st.sampled_from(LEAVES), LIKELY), min_size=1, max_size=3))
@LOOSE
def test_study_with_a_likely_value_in_the_wrong_place_can_run_or_is_refused_in_one_line(
    tmp_path: Path, toy_loaded: Loaded, tally: Counter[str], changes: list[tuple[tuple[str, ...], object]]
) -> None:
    """Checks everything that `run` checks before it writes: widths are solved too."""
    data = tomllib.loads(STUDY)
    for path, value in changes:
        set_at(data, list(path), value)
    try:
        study = parse_study(data, source="here")
        Runner(make_plan(study, toy_loaded.registry), toy_loaded, tmp_path / "runs").check()
        assert parse_study(tomllib.loads(study_toml(study)), source="again") == study
        tally["likely tables ready to run"] += 1
    except HarnessError as error:
        check_message(error)
        tally["likely tables refused"] += 1
    assert not (tmp_path / "runs").exists()


@given(changes=st.lists(st.tuples(PATHS, VALUES), min_size=1, max_size=3))
@LOOSE
def test_study_with_any_value_anywhere_is_planned_or_refused_in_one_line(
    toy_loaded: Loaded, tally: Counter[str], changes: list[tuple[list[str], object]]
) -> None:
    data = tomllib.loads(STUDY)
    for path, value in changes:
        set_at(data, path, value)
    try:
        make_plan(parse_study(data, source="here"), toy_loaded.registry)
        tally["tables planned"] += 1
    except HarnessError as error:
        check_message(error)
        tally["tables refused"] += 1


@given(
    text=st.one_of(
        st.text(max_size=200), st.binary(max_size=200), st.sampled_from([STUDY * 2, STUDY[:-20], "[" * 5000])
    )
)
@LOOSE
def test_any_file_is_refused_in_one_line(tmp_path: Path, tally: Counter[str], text: str | bytes) -> None:
    file = tmp_path / "study.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    with pytest.raises(HarnessError, match=r"study\.toml: ") as caught:
        read_study_file(file)
    check_message(caught.value)
    tally["files refused"] += 1


@given(place=st.integers(0, len(STUDY) - 1), length=st.integers(0, 12), put=st.text(max_size=6), data=st.data())
@LOOSE
def test_study_file_with_a_typing_error_is_planned_or_refused_in_one_line(
    tmp_path: Path, toy_loaded: Loaded, tally: Counter[str], place: int, length: int, put: str, data: st.DataObject
) -> None:
    file = tmp_path / "study.toml"
    file.write_text(STUDY[:place] + put + STUDY[place + length :], encoding="utf-8", errors="surrogatepass")
    try:
        study = read_study_file(file)
        make_plan(study, toy_loaded.registry)
        assert parse_study(tomllib.loads(study_toml(study)), source="again") == study
        tally["edited files planned"] += 1
    except HarnessError as error:
        check_message(error)
        tally["edited files refused"] += 1


def _toml(value: object) -> str:
    try:
        return tomli_w.dumps({"v": value}).removeprefix("v = ").strip()
    except (TypeError, ValueError):
        return str(value)


ASSIGNMENTS = st.one_of(
    st.builds(lambda path, value: f"{'.'.join(path)}={_toml(value)}", st.sampled_from(LEAVES), LIKELY),
    st.builds(
        lambda path, equals, value: ".".join(path) + equals + value,
        PATHS,
        st.sampled_from(["=", " = ", "", "=="]),
        st.one_of(st.text(max_size=20), VALUES.map(_toml)),
    ),
)


@given(assignments=st.lists(ASSIGNMENTS, min_size=1, max_size=3))
@example(assignments=["tasks.0.length=99999999999999999999"])
@example(assignments=["budget.trials=99999999999999999999"])
@LOOSE
def test_any_assignment_of_the_command_line_is_planned_or_refused_in_one_line(
    tmp_path: Path, toy_loaded: Loaded, tally: Counter[str], assignments: list[str]
) -> None:
    file = tmp_path / "study.toml"
    file.write_text(STUDY)
    runs = tmp_path / "runs"
    try:
        study = read_study_file(file, assignments)
        Runner(make_plan(study, toy_loaded.registry), toy_loaded, runs)
        tally["overrides planned"] += 1
    except HarnessError as error:
        check_message(error)
        tally["overrides refused"] += 1
    assert not runs.exists()


WORDS = st.one_of(
    st.sampled_from(
        [
            "run",
            "plan",
            "list",
            "show",
            "train",
            "report",
            "sync",
            "data",
            "study.toml",
            "toy-sum",
            "toy-ema",
            "-s",
            "--models",
            "--runs",
            "--serial",
            "--address",
            "--storage",
            "--draws",
            "--format",
            "-o",
            "--id",
            "status",
            "nowhere:1",
            "updates=0",
            "parameters=-3",
            "seed=x",
            "length=0",
            "--help",
            "-",
            "--",
            "../..",
            "1",
            "x=y",
        ]
    ),
    st.text(alphabet=st.characters(exclude_characters="\x00"), max_size=10),
)


@given(words=st.lists(WORDS, max_size=5))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_command_line_ends_with_an_exit_code_and_never_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tally: Counter[str],
    words: list[str],
) -> None:  # fmt: skip
    """None of these can train: there is no study file, and `fetch`, `ui` and `--version` are not among the words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_DISABLE_PLUGINS", "seqharness-models,seqharness-modern,seqharness-tasks")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "argv", ["harness", *words])
    with pytest.raises(SystemExit) as exit_:
        main()
    code = exit_.value.code or 0
    err = capsys.readouterr().err
    assert code in (0, 1, 2), err
    tally[f"command lines that ended with {code}"] += 1
    if err.startswith("harness: "):
        assert err.count("\n") == 1, err
        assert not [word for word in JARGON if word in err], err
    assert not (tmp_path / "runs").exists()
