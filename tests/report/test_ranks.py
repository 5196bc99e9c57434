"""The critical-difference diagram."""

from __future__ import annotations

import re

import pytest

from harness.analysis.across_tasks import Overall
from harness.report.figures.ranks import rank_picture
from harness.report.figures.style import COLOURS, ModelStyle


def comparison(ranks: dict[str, float], difference: float, *groups: tuple[str, ...]) -> Overall:
    return Overall(("a", "b"), (), 10, {}, {}, ranks, difference, groups)


def styles(models: int) -> dict[str, ModelStyle]:
    return {f"m{i}": ModelStyle(f"model {i}", COLOURS[i % len(COLOURS)], "o", "-") for i in range(models)}


def comments(svg: str) -> list[str]:
    """Return the texts of a figure; matplotlib writes each one as a comment before its glyphs."""
    return re.findall(r"<!-- (.*?) -->", svg)


def test_every_model_is_labelled_with_its_mean_rank() -> None:
    picture = rank_picture(comparison({"m0": 1.25, "m1": 2.0, "m2": 2.75}, 1.5, ("m0", "m1")), styles(3))
    texts = comments(picture.svg)
    assert {"model 0  1.25", "model 1  2.00", "2.75  model 2"} <= set(texts)  # the better half is on the left
    assert "critical difference" in texts
    assert "critical difference is 1.50 (Nemenyi, 5 %)" in picture.caption


def test_critical_difference_beyond_the_line_is_not_drawn() -> None:
    picture = rank_picture(comparison({"m0": 1.0, "m1": 2.0}, 1.0), styles(2))
    assert "critical difference" not in comments(picture.svg)


@pytest.mark.parametrize(("models", "numbers"), [(3, ["1", "2", "3"]), (17, ["1", *(str(n) for n in range(2, 18, 2))])])
def test_many_ranks_have_fewer_numbers(models: int, numbers: list[str]) -> None:
    ranks = {f"m{i}": float(i + 1) for i in range(models)}
    texts = comments(rank_picture(comparison(ranks, 99.0), styles(models)).svg)
    assert [text for text in texts if text.isdigit()] == numbers
