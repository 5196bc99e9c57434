"""The winner of a race in a fresh process: what is loaded, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.errors import CheckpointError, LedgerError, PluginError, StudyError
from harness.ledger.journal import read_study
from harness.recommendation import predictor
from harness.recommendation.predictor import load_winner
from harness.recommendation.result import ANSWER, Recommendation
from harness.records import Plugin
from tests.support.races import Place

Raced = tuple[Place, Recommendation]
"""A finished race and its answer."""


def test_winner_is_the_repetition_with_the_best_validation_score(raced: Raced) -> None:
    place, answer = raced
    assert answer.winner is not None
    finals = [e for e in read_study(place.folder).entries() if e.trial.phase == "final" and e.result is not None]
    own = [entry for entry in finals if entry.trial.cell.model == answer.winner.model]
    best = min(own, key=lambda entry: entry.result.score if entry.result and entry.result.score is not None else 9e9)
    assert answer.winner.key == best.trial.key


def test_winner_has_the_test_score_of_its_record(raced: Raced) -> None:
    place, answer = raced
    loaded = load_winner(place.folder)
    assert not loaded.network.training
    result = next(
        e.result for e in read_study(place.folder).entries() if answer.winner and e.trial.key == answer.winner.key
    )
    assert result is not None
    data = loaded.task.load("test", loaded.trial.seeds, {})
    assert not isinstance(data, tuple)
    outputs = loaded.outputs(data)  # type: ignore[arg-type]  # the toy has arrays
    error = float(((outputs - data.targets) ** 2).mean())  # type: ignore[union-attr]
    assert error == pytest.approx(result.metrics["test"]["mse"], rel=1e-5)


def test_task_that_reads_no_rows_refers_to_the_network(raced: Raced) -> None:
    place, _ = raced
    loaded = load_winner(place.folder)
    with pytest.raises(StudyError, match=r"task 'toy-sum' reads no rows of your own; give tensors to winner\.network"):
        loaded.predict("rows.csv")
    assert loaded.network(torch.zeros(2, 6, 1)).shape == (2, 6, 1)


def test_loading_does_not_change_the_random_state(raced: Raced) -> None:
    before = torch.get_rng_state()
    load_winner(raced[0].folder)
    assert torch.equal(before, torch.get_rng_state())


def test_damaged_weights_are_refused(raced: Raced) -> None:
    place, answer = raced
    assert answer.winner is not None
    path = place.folder / answer.winner.weights
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        load_winner(place.folder)


def test_weights_of_another_repetition_are_refused(raced: Raced) -> None:
    place, answer = raced
    assert answer.winner is not None
    path = place.folder / answer.winner.weights
    other = next(p for p in sorted((place.folder / "checkpoints").rglob("weights.pt")) if p != path)
    path.write_bytes(other.read_bytes())
    with pytest.raises(CheckpointError, match="is damaged"):
        load_winner(place.folder)


def test_other_version_of_a_plugin_is_refused(raced: Raced, monkeypatch: pytest.MonkeyPatch) -> None:
    place, _ = raced
    registry = replace(place.loaded.registry, plugins=(Plugin(name="toys", version="9.9"),))
    monkeypatch.setattr(predictor, "load_plugins", lambda: replace(place.loaded, registry=registry))
    with pytest.raises(PluginError, match=r"was trained with toys unknown \(installed: 9\.9\); install these"):
        load_winner(place.folder)


def test_changed_code_is_refused(raced: Raced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "code_of", lambda *_: ["other"])
    with pytest.raises(PluginError, match="the code of seqharness or toys has changed since the training; install"):
        load_winner(raced[0].folder)


def test_study_without_a_recommendation_has_no_winner(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="has no recommendation yet; `harness recommend` writes one at its end"):
        load_winner(tmp_path)


def test_answer_without_a_winner_cannot_be_loaded(raced: Raced) -> None:
    place, answer = raced
    nothing = answer.model_copy(update={"verdict": "nothing-learned", "model": None, "winner": None})
    (place.folder / ANSWER).write_text(nothing.model_dump_json())
    with pytest.raises(LedgerError, match=r"has no winner \(nothing-learned\)"):
        load_winner(place.folder)
