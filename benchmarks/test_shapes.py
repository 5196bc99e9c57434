"""Check the counts of the table of shapes, and its text."""

from __future__ import annotations

import shapes
from harness_models.recurrent import Lstm
from harness_models.tcn import Tcn


def test_shapes_with_equal_counts_are_one() -> None:
    assert len(list(shapes.distinct_shapes(Tcn()))) == 28
    assert [params["layers"] for params in shapes.distinct_shapes(Lstm())] == [1, 2, 3]  # any forget bias


def test_figures_count_what_is_drawn_and_built() -> None:
    two: list[shapes.Params] = [{"kernel_size": 6, "levels": levels, "dropout": 0.0} for levels in (2, 4)]
    figures = shapes.solved(Tcn(), two, 5_000)
    assert (figures.total, figures.drawn) == (2, 1)
    assert figures.builds > 5


def test_table_sets_figures_beside_earlier_ones() -> None:
    now, then = shapes.Figures(28, 27, 19.13, 13.91), shapes.Figures(28, 13, 15.1, 18.9)
    lines = list(shapes.table({"tcn": {"5000": now}, "own": {"5000": now}}, {"tcn": {"5000": then}}))
    assert lines[2] == "| tcn | 28 | 5,000 | 13 | 27 | 15.1 | 19.1 | 18.9 | 13.9 |"
    assert lines[3] == "| own | 28 | 5,000 | - | 27 | - | 19.1 | - | 13.9 |"
