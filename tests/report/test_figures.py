from __future__ import annotations

import warnings
from itertools import combinations

import pytest
from matplotlib.colors import to_rgb

from harness.report.figures.per_task import draw
from harness.report.figures.style import COLOURS, DASHES, MARKERS, model_styles
from harness.report.report import Report, build_report
from tests.support.cells import cell_of, facts, repeated, searched, stored


def report_of(*models: str) -> Report:
    cells = [facts(model) for model in models]
    return build_report(stored(cells, [entry for cell in cells for entry in cell_of(cell, [0.1, 0.2])]))


def test_model_looks_the_same_in_any_order_of_a_study() -> None:
    assert model_styles([report_of("tcn", "gru")]) == model_styles([report_of("gru"), report_of("tcn", "gru")])


def test_models_beyond_the_palette_still_look_different() -> None:
    styles = model_styles([report_of(*(f"m{i:02d}" for i in range(2 * len(COLOURS))))])
    assert len({(style.colour, style.marker) for style in styles.values()}) == 2 * len(COLOURS)
    assert len({(style.colour, str(style.dash)) for style in styles.values()}) == 2 * len(COLOURS)


def test_long_names_are_shortened_and_still_differ() -> None:
    names = [f"{'a' * 20}-x-{'b' * 20}", f"{'a' * 20}-y-{'b' * 20}", "tcn"]
    labels = [style.label for style in model_styles([report_of(*names)]).values()]
    assert labels == ["aaaaaaaaaaaa…bbbbbbbbbbb #0", "aaaaaaaaaaaa…bbbbbbbbbbb #1", "tcn"]


def caption_of(report: Report, name: str) -> str:
    return next(picture.caption for drawn in draw([report]).values() for picture in drawn if picture.name == name)


def test_caption_of_tuning_names_only_lines_that_are_drawn() -> None:
    what = "copy: expected best of k trials; shaded: 80 % of searches"
    assert caption_of(report_of("tcn"), "best-of-k-copy") == f"{what}; grey dashes: the floor."
    tcn, gru = facts("tcn"), facts("gru")
    early = [*searched(tcn.cell, [0.2, 0.2]), *repeated(tcn.cell, 0, [0.1, 0.2])]
    late = [*searched(gru.cell, [0.9, 0.1]), *repeated(gru.cell, 1, [0.1, 0.2])]
    caption = caption_of(build_report(stored([tcn, gru], [*early, *late])), "best-of-k-copy")
    assert caption == f"{what}; other models thin; grey dashes: the floor; grey dots: where the leader changes."


def test_long_names_fit_into_the_figures() -> None:
    # matplotlib warns if labels leave no space for the axes.
    report = report_of(*(f"a-model-with-a-very-long-name-of-sixty-characters-{place:02d}" for place in range(13)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = draw([report])
    assert [picture.name for pictures in drawn.values() for picture in pictures] == ["scores-copy", "best-of-k-copy"]


# Machado, Oliveira and Fernandes 2009: how colours look without one kind of cone.
BLINDNESS = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


@pytest.mark.parametrize("kind", BLINDNESS)
def test_first_four_colours_differ_for_the_colour_blind(kind: str) -> None:
    seen = [
        tuple(sum(a * b for a, b in zip(row, to_rgb(colour), strict=True)) for row in BLINDNESS[kind])
        for colour in COLOURS
    ]
    for first, second in combinations(seen[:4], 2):
        assert sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) ** 0.5 > 0.1


def test_markers_and_dashes_distinguish_models_without_colour() -> None:
    assert len(set(MARKERS)) == len({str(dash) for dash in DASHES}) == len(set(COLOURS))
