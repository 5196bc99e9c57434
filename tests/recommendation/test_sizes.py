"""Races at several sizes compared: the best size, and the smallest that is equivalent to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.analysis.cell_result import CellResult, summarize_cell
from harness.recommendation.result import Place
from harness.recommendation.sizes import AtSize, SizesAnswer, size_places
from harness.recommendation.sizes_page import line_of, page, sentences
from harness.records import MetricFacts
from tests.support.cells import ACCURACY, cell_of, facts
from tests.support.recommendations import answer, candidate

RANDOM = np.random.default_rng(0)


def cells(scores: Mapping[int, Sequence[float]], metric: MetricFacts = ACCURACY) -> dict[int, CellResult]:
    """Return a cell per size with these test scores."""
    made = {size: facts(str(size), metric, repetitions=len(own)) for size, own in scores.items()}
    made = {size: cell.model_copy(update={"floor": 10.0}) for size, cell in made.items()}
    return {size: summarize_cell(cell, cell_of(cell, scores[size])) for size, cell in made.items()}


def around(mean: float, n: int = 29) -> list[float]:
    return list(mean + 0.1 * RANDOM.standard_normal(n))


def test_sizes_are_equivalent_within_the_margin_and_lost_beyond_it() -> None:
    places, shared = size_places(cells({500: around(70), 1000: around(89.9), 5000: around(90)}), 0.95)
    assert (places, shared) == ({500: "lost", 1000: "equivalent", 5000: "leader"}, 29)


def test_task_without_a_margin_has_no_equivalent_size() -> None:
    metric = ACCURACY.model_copy(update={"margin": 0.0})
    places, _ = size_places(cells({1000: around(90), 5000: around(90)}, metric), 0.95)
    assert "equivalent" not in places.values()


def test_sizes_are_compared_on_the_repetitions_that_all_have() -> None:
    """The race of a size may end earlier than that of another; its lead must not depend on that."""
    places, shared = size_places(cells({1000: around(90, 12), 5000: around(70, 29)}), 0.95)
    assert (places, shared) == ({1000: "leader", 5000: "lost"}, 12)


def test_sizes_are_paired_by_repetition_whatever_is_missing() -> None:
    """Scores differ more between repetitions than between sizes, so another pairing would decide nothing."""
    draws = RANDOM.permutation(np.linspace(50, 98, 29))
    results = cells({1000: list(draws + around(-8)), 5000: list(draws)})
    results[1000] = replace(results[1000], finals=results[1000].finals[1:])
    results[5000] = replace(results[5000], finals=results[5000].finals[::-1])
    places, shared = size_places(results, 0.95)
    assert (places, shared) == ({1000: "lost", 5000: "leader"}, 28)


def test_few_repetitions_decide_nothing() -> None:
    places, _ = size_places(cells({1000: around(70, 9), 5000: around(90, 9)}), 0.95)
    assert places == {1000: "open", 5000: "leader"}


def made(places: Mapping[int, Place], *, best: int | None, smallest: int | None, **changes: Any) -> SizesAnswer:
    return SizesAnswer(
        metric=MetricFacts(name="mse", unit="", better="lower", margin=changes.pop("margin", 0.05)),
        best=best,
        smallest=smallest,
        repetitions=changes.pop("repetitions", 29),
        sizes=tuple(
            AtSize(
                parameters=size,
                place=place,
                recommendation=answer("best", candidate("gru", "leader"), parameters=size, study=f"s-{size}"),
            )
            for size, place in places.items()
        ),
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            made({500: "lost", 1000: "equivalent", 5000: "leader"}, best=5000, smallest=1000),
            "5,000 parameters have the best mean test mse; the smallest size that is equivalent is 1,000 parameters.",
        ),
        (
            made({500: "leader", 1000: "equivalent"}, best=500, smallest=500),
            "500 parameters have the best mean test mse; this is the smallest size.",
        ),
        (
            made({500: "open", 1000: "leader"}, best=1000, smallest=1000, repetitions=5),
            "1,000 parameters have the best mean test mse; no smaller size is known to be equivalent; inconclusive: "
            "500 (5 paired repetitions; 10 are needed).",
        ),
        (made({500: "failed"}, best=None, smallest=None), "No size has a recommendation."),
    ],
)
def test_last_sentence_names_the_smallest_size_that_suffices(given: SizesAnswer, sentence: str) -> None:
    *by_size, last = sentences(given)
    assert last == sentence
    assert sentence in page(given)
    assert all(
        line.startswith(f"{at.parameters:,} parameters: ") for line, at in zip(by_size, given.sizes, strict=True)
    )


def test_page_has_a_line_per_size_and_says_that_there_is_no_margin() -> None:
    text = page(made({500: "failed", 1000: "leader"}, best=1000, smallest=1000, margin=0.0))
    assert "| 500 | – | best |" in text
    assert "s-1000" in text
    assert "no size is called equivalent" in text


def test_page_says_if_the_sizes_train_for_different_numbers_of_updates() -> None:
    alike = made({500: "lost", 1000: "leader"}, best=1000, smallest=1000)
    assert "numbers of updates" not in page(alike)
    first, second = alike.sizes
    longer = first.model_copy(update={"recommendation": first.recommendation.model_copy(update={"updates": 9_000})})
    text = page(alike.model_copy(update={"sizes": (longer, second)}))
    assert f"9,000 at 500 parameters, {second.recommendation.updates:,} at 1,000 parameters" in text


def test_line_of_a_size_has_its_place_and_study() -> None:
    line = line_of(made({500: "leader"}, best=500, smallest=500).sizes[0])
    assert (line["budget"], line["model"], line["place"], line["study"]) == (500, "gru", "leader", "s-500")
