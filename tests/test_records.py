"""Records: JSON both ways, digests, labels, resources, facts about metrics."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from harness.records import (
    Cell,
    CellFacts,
    Label,
    MetricFacts,
    Optimisation,
    Outcome,
    ParamValue,
    Plugin,
    Point,
    Record,
    Resources,
    Schedule,
    TaskRef,
    Training,
    Trial,
    TrialResult,
    digest_of,
)
from harness.seeds import Seeds
from tests.conftest import make_trial

PARAMS = st.dictionaries(
    st.text(min_size=1),
    st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.none()),
    max_size=4,
)


def test_records_are_frozen_and_reject_unknown_keys() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        make_trial().number = 4  # type: ignore[misc]
    with pytest.raises(ValidationError, match="extra_forbidden"):
        make_trial(wdiths=(1,))


@given(PARAMS, PARAMS)
def test_trial_is_equal_after_json(params: dict[str, ParamValue], options: dict[str, ParamValue]) -> None:
    trial = make_trial(params=params, build=params, task=TaskRef(name="toy-sum", options=options))
    back = Trial.model_validate(json.loads(json.dumps(trial.model_dump(mode="json"))))
    assert back == trial
    assert back.digest == trial.digest
    assert [type(value) for value in back.params.values()] == [type(value) for value in params.values()]
    assert Trial.model_validate_json(trial.model_dump_json()) == trial


@pytest.mark.parametrize("loss", [math.inf, -math.inf, math.nan])
def test_point_keeps_an_infinite_or_nan_loss(loss: float) -> None:
    point = Point(
        update=1,
        epoch=0.5,
        seconds=1,
        time=2,
        learning_rate=0.1,
        train_loss=loss,
        gradient_norm=loss,
        metrics={"mse": loss},
    )
    back = Point.model_validate(json.loads(json.dumps(point.model_dump(mode="json"))))
    assert repr(back) == repr(point)


def test_trial_key_is_study_cell_phase_and_number() -> None:
    assert make_trial().key == "0123456789ab/toy-sum/toy-ema/search/3"


@pytest.mark.parametrize(
    "change",
    [
        {"task": TaskRef(name="toy-sum", options={"length": 6})},
        {"model": "toy-stack"},
        {"params": {"bias": False}},
        {"build": {"bias": False}},
        {"widths": (6, 7)},
        {"embedding": 8},
        {"embedding_dropout": 0.25},
        {"tied": False},
        {"optimisation": Optimisation(learning_rate=2e-3, reduction="sum")},
        {"optimisation": Optimisation(learning_rate=2e-3, schedule=Schedule(kind="cosine"))},
        {"training": Training(updates=8, batch_size=4, evaluate_every=4, patience=2)},
        {"seeds": Seeds.of(0, 1)},
        {"data": {"music.mat": "00"}},
        {"plugins": (Plugin(name="toys", version="1.1"),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_digest_changes_with_everything_that_determines_the_result(change: dict[str, object]) -> None:
    assert make_trial(**change).digest != make_trial().digest


def test_a_trial_that_was_stored_before_embedding_dropout_keeps_its_digest() -> None:
    stored = make_trial().model_dump(mode="json")
    del stored["embedding_dropout"], stored["embedding_parameters"]
    again = Trial.model_validate(stored)
    place = {"study", "cell", "phase", "number", "resources", "winner", "draw", "rejections", "repetition"}
    assert again.digest == digest_of({name: value for name, value in stored.items() if name not in place})
    assert again.digest == make_trial().digest


@pytest.mark.parametrize(
    "change",
    [
        {"study": "ba9876543210"},
        {"cell": Cell(task="toy-sum", model="other-label")},
        {"phase": "final"},
        {"number": 4},
        {"resources": Resources(cpu=2)},
        {"winner": "a/b/c/search/0"},
        {"draw": 9},
        {"rejections": ("too wide",)},
        {"repetition": 2},
        {"until": 4},
        {"embedding_parameters": 7},  # follows from model, build and widths
    ],
    ids=lambda change: next(iter(change)),
)
def test_digest_ignores_the_place_of_a_trial_in_its_study(change: dict[str, object]) -> None:
    assert make_trial(**change).digest == make_trial().digest


def test_the_two_digest_tests_cover_every_field_of_a_trial() -> None:
    changed = {
        *(
            "task",
            "model",
            "params",
            "build",
            "widths",
            "embedding",
            "embedding_dropout",
            "tied",
            "optimisation",
            "training",
            "seeds",
            "data",
        ),
        *("plugins", "study", "cell", "phase", "number", "resources", "winner", "draw", "rejections", "repetition"),
        "until",
        "embedding_parameters",
    }
    assert Trial.model_fields.keys() - changed == {"parameters"}  # follows from model, build and widths


def test_digest_of_is_sha256_of_canonical_json() -> None:
    assert digest_of({"b": [1, None], "a": True}) == hashlib.sha256(b'{"a":true,"b":[1,null]}').hexdigest()
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})


def test_digest_is_the_same_in_another_process() -> None:
    script = "import sys; from harness.records import Trial; print(Trial.model_validate_json(sys.stdin.read()).digest)"
    done = subprocess.run(
        [sys.executable, "-c", script], input=make_trial().model_dump_json(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == make_trial().digest


@pytest.mark.parametrize("label", ["a", "0", "jsb-chorales", "tcn-k3", "v1.2", "a..b", "a" * 100])
def test_label_accepts(label: str) -> None:
    assert TypeAdapter(Label).validate_python(label) == label


@pytest.mark.parametrize(
    "label", ["", ".", "..", "-a", "A", "a/b", "../../x", "a_b", "a b", "é", "a\n", "a\x00", "a" * 101, "~", "a\\b"]
)
def test_label_rejects_what_could_point_outside_a_folder(label: str) -> None:
    with pytest.raises(ValidationError, match="string_"):
        TypeAdapter(Label).validate_python(label)


def test_equal_resources_are_equal_records() -> None:
    assert {Resources(cpu=1), Resources(cpu=1.0, gpu=0)} == {Resources()}


@pytest.mark.parametrize("amount", [{"cpu": 0}, {"cpu": math.inf}, {"gpu": -1}, {"gpu": math.nan}, {"memory_gib": -1}])
def test_resources_reject_impossible_amounts(amount: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(amount))):
        Resources.model_validate(amount)


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_result_is_equal_after_json(outcome: Outcome) -> None:
    result = TrialResult(outcome=outcome, score=0.5, metrics={"test": {"mse": 0.1}}, updates=3, weights="a/b.pt")
    assert TrialResult.model_validate_json(result.model_dump_json()) == result


def test_every_record_is_frozen_and_rejects_unknown_keys() -> None:
    kinds = Record.__subclasses__()
    assert len(kinds) > 10
    assert all(kind.model_config.get("frozen") and kind.model_config.get("extra") == "forbid" for kind in kinds)


@pytest.mark.parametrize(
    ("reported", "metric"),
    [
        ("perplexity", "perplexity"),
        ("perplexity-80-40", "perplexity"),
        ("perplexity-word", "perplexity-word"),
        ("perplexity-word-80-40", "perplexity-word"),
        ("perplexity2", None),
        ("bits", None),
    ],
)
def test_a_further_reading_has_the_facts_of_its_metric(reported: str, metric: str | None) -> None:
    first, second = (MetricFacts(name=name, unit="", better="lower") for name in ("perplexity", "perplexity-word"))
    facts = CellFacts(
        cell=Cell(task="text", model="toy"),
        task=TaskRef(name="text"),
        model="toy",
        metric=first,
        others=(second,),
        parameters=100,
        trials=1,
        repetitions=1,
        fingerprint={},
    )
    match = facts.metric_of(reported)
    assert (match.name if match else None) == metric
