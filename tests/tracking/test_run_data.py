"""Names, values and digests as MLflow stores them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tracking.run_data import (
    NAME_LIMIT,
    PARAM_LIMIT,
    RunData,
    Sample,
    cut,
    finite_samples,
    flatten,
    legal_name,
    non_finite_tags,
    to_json,
)


@given(st.text(max_size=300))
def test_every_name_becomes_one_that_mlflow_allows(name: str) -> None:
    """MLflow allows letters, digits, `_-. /` and up to 250 characters, and no name that is a path upwards."""
    legal = legal_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_. -]+", legal)
    assert legal.strip(".")
    assert len(legal) <= NAME_LIMIT


def test_characters_that_mlflow_does_not_allow_become_their_hex_code() -> None:
    assert legal_name("a?") == "a_3f"
    assert legal_name("bits/char") == "bits_2fchar"
    assert legal_name("..") == "_2e_2e"
    assert legal_name("n" * 400) == "n" * NAME_LIMIT


def test_nested_tables_become_one_with_dotted_names() -> None:
    table = {"build": {"dropout": 0.1, "bias": True}, "widths": [3, 4], "model": "tcn", "winner": None}
    assert flatten(table) == {
        "build.dropout": "0.1",
        "build.bias": "true",
        "widths": "[3, 4]",
        "model": "tcn",
        "winner": "null",
    }
    assert len(flatten({"text": "x" * 9000})["text"]) == PARAM_LIMIT


@given(st.text(max_size=20), st.integers(1, 20))
def test_cut_text_has_at_most_the_limit_and_short_text_is_unchanged(text: str, limit: int) -> None:
    assert len(cut(text, limit)) <= limit
    assert (cut(text, limit) == text) == (len(text) <= limit)


def test_non_finite_samples_are_named_in_a_tag_and_not_sent() -> None:
    samples = [Sample("loss", value, 0, step) for step, value in enumerate((1.0, math.inf, math.nan, -math.inf))]
    assert finite_samples(samples) == (samples[0],)
    assert non_finite_tags(samples) == {"harness.non_finite": "loss@1, loss@2, loss@3"}
    assert non_finite_tags(samples[:1]) == {}


def test_json_keeps_infinity() -> None:
    assert json.loads(to_json({"score": math.inf})) == {"score": math.inf}


def test_digest_does_not_depend_on_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`harness run` knows the absolute path of a study's folder, `harness sync` a relative one."""
    monkeypatch.chdir(tmp_path)
    paths = Path("runs/s/weights.pt"), tmp_path / "runs" / "s" / "weights.pt"
    assert len({RunData(files={"weights.pt": path}).digest for path in paths}) == 1


def test_digest_depends_on_every_part_of_the_contents() -> None:
    sample = Sample("loss", 1.0, 1000, 10)
    contents = [
        RunData(),
        RunData(metrics=(sample,)),
        RunData(metrics=(Sample("loss", 1.0, 1000, 11),)),
        RunData(params={"a": "1"}),
        RunData(tags={"a": "1"}),
        RunData(texts={"a": "1"}),
        RunData(files={"a": Path("1")}),
    ]
    assert len({data.digest for data in contents}) == len(contents)
    assert RunData(metrics=(sample,), tags={"a": "1", "b": "2"}).digest == (
        RunData(metrics=(sample,), tags={"b": "2", "a": "1"}).digest
    )
