"""The simulation suite in its short form; `python benchmarks/worlds.py` prints the whole table."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.statistics import proportion
from simulated import WORLDS, Draw, Outcome, World
from worlds import BINS, NOMINAL, SHORT_RACES, Line, measure, page, races

LEVEL = 0.9999
"""Confidence level of one world, so that the suite fails by chance in fewer than one run in a hundred."""


@pytest.fixture(scope="module")
def measured() -> dict[str, list[Line]]:
    return measure(SHORT_RACES)


def exceeds(line: Line) -> bool:
    return proportion(line["false"], line["races"], LEVEL).interval.low > NOMINAL


def test_no_world_and_no_report_exceeds_its_nominal_error(measured: dict[str, list[Line]]) -> None:
    assert len(measured["races"]) == len(WORLDS)
    assert [line["name"] for line in (*measured["races"], *measured["reports"]) if exceeds(line)] == []


def test_what_is_said_of_the_best_model_is_not_more_than_what_is_right(measured: dict[str, list[Line]]) -> None:
    cells = [cell for line in measured["calibration"] for cell in line["bins"] if cell is not None]
    for low in range(len(BINS) - 1):
        of_bin = [line["bins"][low] for line in measured["calibration"] if line["bins"][low] is not None]
        right, n = sum(cell[1] for cell in of_bin), sum(cell[2] for cell in of_bin)
        said = sum(cell[0] * cell[2] for cell in of_bin) / max(n, 1)
        assert n == 0 or said <= proportion(right, n, 0.999).interval.high
    assert sum(cell[2] for cell in cells) == SHORT_RACES * len(measured["calibration"])


@pytest.mark.parametrize(
    ("name", "power"),
    [
        ("normal, 2 models, 3 spreads apart", 0.95),
        ("normal, 2 models, 1 spread apart", 0.7),
        ("normal, 9 models, one better by 1.5", 0.7),
        ("equal, 3 models, margin 2 spreads", 0.9),
        ("within the margin: 99.0 and 98.9, margin 1", 0.9),
        ("validation harder by 0.4, 80 repetitions", 0.5),
    ],
)
def test_the_power_stays_useful(measured: dict[str, list[Line]], name: str, power: float) -> None:
    (line,) = [race for race in measured["races"] if race["name"] == name]
    assert proportion(round(line["right"] * SHORT_RACES), SHORT_RACES, LEVEL).interval.high >= power
    assert line["right"] >= power - 0.2


def test_a_race_that_says_what_is_false_is_counted() -> None:
    """A planted defect: the worst model is called best."""

    def wrong(draw: Draw, world: World, most: object) -> Outcome:
        worst = int(np.argmin(draw.truth))
        places = {rival: "lost" for rival in range(len(draw.truth)) if rival != worst}
        return Outcome.of(worst, places, learned=True, nothing=False, repetitions=5, reads=1)

    line = races(replace(WORLDS[0]), 20, wrong)
    assert (line["false"], exceeds(line), line["right"]) == (20, True, 0)


@pytest.mark.parametrize(
    ("verdict", "truth", "margin", "false"),
    [
        ("lost", (1.0, 0.0), 0.5, False),
        ("lost", (0.0, 0.0), 0.0, True),
        ("lost", (0.3, 0.0), 0.5, True),  # the two are equivalent
        ("equivalent", (0.3, 0.0), 0.5, False),
        ("equivalent", (0.6, 0.0), 0.5, True),
        ("open", (0.0, 1.0), 0.0, False),
    ],
)
def test_a_claim_is_false_where_the_truth_says_so(
    verdict: str, truth: tuple[float, float], margin: float, *, false: bool
) -> None:
    outcome = Outcome.of(0, {1: verdict}, learned=True, nothing=False, repetitions=10, reads=1)
    assert outcome.false_claim(truth, margin, learns=True) is false
    assert outcome.false_claim((1.0, 0.0), 0.0, learns=False)  # it says that something was learned


def test_the_page_shows_what_was_before(measured: dict[str, list[Line]]) -> None:
    text = page(measured, json.loads(json.dumps(measured)), command="python benchmarks/worlds.py")
    header = next(line for line in text.splitlines() if line.startswith("| world | wanted"))
    assert "error before" in header
    assert all(line.count("|") == header.count("|") for line in text.splitlines() if line.startswith("| normal, "))
    assert "approximate" in text
