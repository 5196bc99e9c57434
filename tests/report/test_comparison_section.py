"""The section that compares the models of one task."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import replace

import pytest

from harness.analysis.statistics import summarise
from harness.records import (
    TaskRef,
    Training,
    TrialResult,
)
from harness.report.formats import to_markdown
from harness.report.report import build_report, build_table
from harness.report.writers.tabular import to_csv
from tests.support.cells import (
    ACCURACY,
    LOSS,
    cell_of,
    facts,
    line_of,
    measured,
    repeated,
    rows,
    searched,
    stored,
)

TRY = Training(updates=1, batch_size=1, evaluate_every=1, evaluation_limit=256)


ORDER = hashlib.sha256(b"[3,1,2]").hexdigest()[:16]


def test_complete_cells_are_ranked_by_mean_with_the_best_in_bold() -> None:
    tcn, gru = facts("tcn"), facts("gru")
    study = stored([tcn, gru], [*cell_of(tcn, [0.01, 0.04]), *cell_of(gru, [0.1, 0.4])])
    assert {model: row.rank for model, row in rows(study).items()} == {"tcn": 1, "gru": 2}
    text = to_markdown(build_report(study))
    best = line_of(text, "tcn")
    assert best["test loss (mean, 95 % CI)"].startswith("**0.02000 [")
    wanted = {
        "rank": "1",
        "median (95 % CI)": "0.02500",
        "success rate (95 % CI)": "2/2 [0.16, 1.00]",
        "vs. best model": "best mean",
    }
    wanted |= {
        "last 3 evaluations": "0.04000",
        "best validation score": "0.1000",
        "parameters": "1,010",
        "deviation from budget": "+1.00 %",
    }
    wanted |= {"search trials": "2/2", "updates": "7 to 8", "published": "3.500e-05"}
    assert wanted.items() <= best.items()
    other = line_of(text, "gru")
    assert "**" not in " ".join(other.values())
    assert other["vs. best model"] == "inconclusive (2 of 34 paired seeds)"
    assert text.count("published: Table 1.") == 1
    assert (
        "2 of 2 cells are complete; the store holds 8 finished trials, and the ledger held 8 at the last sync." in text
    )


def test_notes_show_options_drawn_orders_and_partial_scoring() -> None:
    tcn = facts("tcn").model_copy(update={"task": TaskRef(name="copy", options={"fraction": 0.1})})
    limited = [
        replace(entry, trial=entry.trial.model_copy(update={"training": TRY})) for entry in cell_of(tcn, [0.01, 0.04])
    ]
    study = stored([tcn], limited)
    fixed = {"copy": {"permutation": (3, 1, 2)}}
    study = replace(study, manifest=study.manifest.model_copy(update={"fixed": fixed}))
    text = to_markdown(build_report(study))
    assert "; fraction = 0.1." in text
    assert f"permutation: 3 numbers drawn from the study's seed, the same in every trial: 3 1 2 …, sha256 {ORDER}" in (
        text
    )
    assert "partial evaluation: scored on 256 sequences, or windows of a stream, drawn from each held-out split" in text
    assert "\n- partial evaluation" not in to_markdown(build_report(stored([tcn], cell_of(tcn, [0.01, 0.04]))))


def test_published_setting_of_a_fair_study_has_no_rank_and_changes_none() -> None:
    cells = [facts(model, ACCURACY) for model in ("best", "near", "far")]
    scores = ([90.0, 90.0], [89.75, 89.75], [89.0, 89.0])
    entries = [entry for cell, score in zip(cells, scores, strict=True) for entry in cell_of(cell, score)]
    shown = facts("best-published", ACCURACY, trials=0).model_copy(update={"setting": "published"})
    study = stored([*cells, shown], [*entries, *repeated(shown.cell, None, [99.0, 99.0], ACCURACY)])
    ranks = {model: row.rank for model, row in rows(study).items()}
    assert ranks == {"best": 1, "near": 2, "far": 3, "best-published": None}
    assert [(pair.first, pair.second) for pair in build_report(study).sections[0].pairs] == [
        ("best", "near"),
        ("best", "far"),
        ("near", "far"),
    ]
    text = to_markdown(build_report(study))
    shown_line = line_of(text, "best-published")
    assert (shown_line["rank"], shown_line["test accuracy (mean, 95 % CI)"]) == ("published", "99.00 [99.00, 99.00]")
    assert line_of(text, "best")["test accuracy (mean, 95 % CI)"].startswith("**90.00")
    assert "shown for reference. It was chosen with the test set in view, so it is not ranked." in text
    lines = csv.DictReader(io.StringIO(to_csv(build_report(study))))
    assert [(line["setting"], line["rank"]) for line in lines][-2:] == [("searched", "3"), ("published", "")]


def test_unfinished_published_setting_is_incomplete() -> None:
    tcn = facts("tcn", trials=0).model_copy(update={"setting": "published"})
    study = stored([tcn], repeated(tcn.cell, None, [0.01]))
    assert line_of(to_markdown(build_report(study)), "tcn")["rank"] == "published, incomplete 1/2"


def test_every_spread_says_what_varies() -> None:
    for metric, scale in ((LOSS, "geometric"), (ACCURACY, "mean, std and Student's t")):
        tcn = facts("tcn", metric)
        text = to_markdown(build_report(stored([tcn], cell_of(tcn, [0.01, 0.04]))))
        assert scale in text
        assert "over repetitions: fresh data order, initial weights, dropout (and synthetic training data)" in text


def test_cell_without_all_repetitions_is_incomplete_and_unranked() -> None:
    tcn = facts("tcn", repetitions=3)
    study = stored([tcn], cell_of(tcn, [0.01, 0.04]))
    assert rows(study)["tcn"].rank is None
    cells = line_of(to_markdown(build_report(study)), "tcn")
    assert cells["rank"] == "incomplete 4/5"
    assert cells["test loss (mean, 95 % CI)"].startswith("0.02000")
    assert build_table(study)["tcn"].isna().all()


def test_cell_without_a_complete_trial_is_failed_with_its_reason() -> None:
    lstm, tcn = facts("lstm"), facts("tcn")
    study = stored(
        [lstm, tcn], [*searched(lstm.cell, [None, None], reason="loss | is nan"), *cell_of(tcn, [0.01, 0.04])]
    )
    assert rows(study)["lstm"].rank is None
    cells = line_of(to_markdown(build_report(study)), "lstm")
    assert cells["rank"] == "FAILED"
    assert cells["test loss (mean, 95 % CI)"] == "FAILED: 2 diverged: loss &#124; is nan"
    assert cells["search trials"] == "2/2 (2 diverged)"


def test_cell_with_a_failed_repetition_is_not_ranked() -> None:
    tcn = facts("tcn")
    entries = cell_of(tcn, [0.01, 0.04])
    failed = replace(entries[3], result=TrialResult(outcome="out-of-memory", reason="17 GiB", test_opened=0))
    study = stored([tcn], [*entries[:3], failed])
    row = rows(study)["tcn"]
    assert (row.state, row.rank, row.status) == ("partial", None, "1 of 2 repetitions have a score")
    text = to_markdown(build_report(study))
    assert "tcn: repetitions: 1 out-of-memory: 17 GiB." in text
    cells = line_of(text, "tcn")
    assert (cells["success rate (95 % CI)"], cells["search trials"]) == ("1/2 (1 out-of-memory) [0.01, 0.99]", "2/2")


def test_failures_are_counted_by_phase() -> None:
    tcn = facts("tcn", trials=3)
    finals = repeated(tcn.cell, 0, [0.01, 0.04])
    failed = replace(finals[1], result=TrialResult(outcome="diverged", reason="nan in a final"))
    study = stored([tcn], [*searched(tcn.cell, [0.1, None, None], "failed", "no draw"), finals[0], failed])
    report = build_report(study)
    cells = line_of(to_markdown(report), "tcn")
    assert (cells["success rate (95 % CI)"], cells["search trials"]) == (
        "1/2 (1 diverged) [0.01, 0.99]",
        "3/3 (2 failed)",
    )
    assert "- tcn: 2 failed: no draw; repetitions: 1 diverged: nan in a final." in to_markdown(report)
    (line,) = csv.DictReader(io.StringIO(to_csv(report)))
    wanted = {"search_complete": "1", "search_failed": "2", "search_diverged": "0"}
    assert (wanted | {"repetitions_complete": "1", "repetitions_failed": "0", "repetitions_diverged": "1"}).items() <= (
        line.items()
    )


def test_notes_show_the_winning_configuration_the_cost_and_rejected_configurations() -> None:
    tcn = facts("tcn")
    first, best, *finals = cell_of(tcn, [0.01, 0.04])
    wide = [f"no width meets 1,000 parameters: widths {width} have {width**2}" for width in (31, 33)]
    entries = [
        measured(first, 10.0, 2**29, ("1 layers reach 2 steps", wide[0])),
        measured(best, 20.5, 3 * 2**29, (wide[1],)),
        *(measured(final, 30.0, None) for final in finals),
    ]
    report = build_report(stored([tcn], entries))
    assert (
        "- tcn: winner kernel_size=4, factor=0.3333, clip=none, bias=true; 90.50 s of training; "
        "peak memory 1.50 GiB; 3 configurations rejected; most frequent reason: "
        "no width meets 1,000 parameters: widths 31 have 961.\n"
    ) in to_markdown(report)
    (line,) = csv.DictReader(io.StringIO(to_csv(report)))
    assert (line["seconds"], line["peak_bytes"], line["rejections"]) == ("90.5", str(3 * 2**29), "3")


def test_best_trial_of_a_search_in_progress_is_not_called_a_winner() -> None:
    tcn = facts("tcn", trials=3)
    entries = [measured(entry, 1.0, None) for entry in searched(tcn.cell, [0.2])]
    text = to_markdown(build_report(stored([tcn], entries)))
    assert "- tcn: best so far kernel_size=3, factor=0.3333, clip=none, bias=true; 1.000 s of training.\n" in text


def test_published_widths_are_compared_with_the_published_size_of_the_task() -> None:
    lstm = facts("lstm", trials=0).model_copy(update={"parameters": None, "task_parameters": 480})
    entries = [measured(entry, 1.0, None) for entry in repeated(lstm.cell, None, [0.01, 0.04])]
    report = build_report(stored([lstm], entries))
    text = to_markdown(report)
    line = line_of(text, "lstm")
    assert (line["parameters"], line["deviation from budget"]) == ("1,010", "+110.42 %")
    assert "; published size 480 parameters." in text
    assert "deviation from budget: relative to the task's published size" in text
    assert "- lstm: published setting kernel_size=3" in text
    (line,) = csv.DictReader(io.StringIO(to_csv(report)))
    assert (line["budget"], line["task_parameters"]) == ("", "480")
    assert float(line["deviation_percent"]) == pytest.approx(100 * (1010 / 480 - 1))


def test_deviation_is_from_the_budget_before_the_published_size() -> None:
    tcn = facts("tcn").model_copy(update={"task_parameters": 480})
    text = to_markdown(build_report(stored([tcn], cell_of(tcn, [0.01, 0.04]))))
    assert line_of(text, "tcn")["deviation from budget"] == "+1.00 %"
    assert "published size" not in text


def test_published_setting_needs_no_search() -> None:
    tcn = facts("tcn", trials=0).model_copy(update={"parameters": None, "assumed": ("clip",)})
    study = stored([tcn], repeated(tcn.cell, None, [0.01, 0.04]))
    row = rows(study)["tcn"]
    assert (row.rank, row.parameters, row.deviation_percent, row.best_validation) == (1, 1010, None, None)
    text = to_markdown(build_report(study))
    line = line_of(text, "tcn")
    assert [
        line[name] for name in ("best validation score", "parameters", "deviation from budget", "search trials")
    ] == [
        "–",
        "1,010",
        "–",
        "–",
    ]
    assert "assumed, since the source states them otherwise or not at all: clip." in text


def test_superseded_repetitions_are_counted_not_averaged() -> None:
    tcn = facts("tcn", trials=3)
    entries = [*searched(tcn.cell, [0.2, 0.1, 0.05]), *repeated(tcn.cell, 1, [9.0, 9.0])]
    present = [
        replace(entry, trial=entry.trial.model_copy(update={"number": 2 + n}))
        for n, entry in enumerate(repeated(tcn.cell, 2, [0.01, 0.04]))
    ]
    study = stored([tcn], [*entries, *present])
    row = rows(study)["tcn"]
    assert row.test is not None
    assert row.test.mean == pytest.approx(0.02)
    assert (row.superseded, row.test_opened, row.rank) == (2, 4, 1)
    assert (
        "2 repetitions of an earlier winner are superseded; the test split was scored 4 times in total"
        in to_markdown(build_report(study))
    )


def test_score_of_zero_moves_a_task_to_a_linear_scale_with_a_note() -> None:
    # The geometric mean of the other, 0.02, would beat the arithmetic mean of the better one.
    tcn, gru = facts("tcn"), facts("gru")
    study = stored([tcn, gru], [*cell_of(tcn, [0.0, 0.042]), *cell_of(gru, [0.01, 0.04])])
    tests = {model: row.test for model, row in rows(study).items()}
    assert {model: test and (test.scale, test.mean) for model, test in tests.items()} == {
        "tcn": ("linear", 0.021),
        "gru": ("linear", 0.025),
    }
    assert rows(study)["tcn"].rank == 1
    text = to_markdown(build_report(study))
    assert "all means, stds and intervals of this task are on a linear scale" in text
    assert "mean (geometric)" not in text


def test_cell_with_successes_and_failures_has_an_interval_of_the_successes_only() -> None:
    tcn = facts("tcn", ACCURACY, repetitions=5).model_copy(update={"floor": 10.0})
    study = stored([tcn], cell_of(tcn, [90.0, 92.0, 91.0, 10.0, 89.0]))
    row = rows(study)["tcn"]
    assert row.test is not None
    assert row.successes is not None
    assert (row.test.mean, row.test.interval) == (74.4, None)
    assert row.successes == summarise([90.0, 92.0, 91.0, 89.0])
    report = build_report(study)
    text = to_markdown(report)
    line = line_of(text, "tcn")
    assert (line["test accuracy (mean, 95 % CI)"], line["success rate (95 % CI)"]) == ("**74.40**", "4/5 [0.28, 0.99]")
    assert "Mean of the 4 successful runs, given success: 90.50 [88.45, 92.55]." in text
    assert [tcn.verdict for section in report.sections for tcn in section.reproductions] == ["under-powered"]
    (sheet,) = csv.DictReader(io.StringIO(to_csv(report)))
    assert (sheet["test_low"], sheet["successes_mean"], sheet["successes_n"]) == ("", "90.5", "4")


@pytest.mark.parametrize(("scores", "skewed"), [([0.1, 0.2, 3.0], True), ([3.0, 3.1, 3.3], False)])
def test_note_warns_of_the_interval_of_skewed_scores_on_a_linear_scale(scores: list[float], skewed: bool) -> None:
    metric = LOSS.model_copy(update={"scale": "linear", "margin": 0.0})
    tcn = facts("tcn", metric, repetitions=3).model_copy(update={"floor": 9.0})
    text = to_markdown(build_report(stored([tcn], cell_of(tcn, scores))))
    assert ("its std is more than half its mean" in text) is skewed


def test_median_has_its_interval_from_five_repetitions_on() -> None:
    for n, shown in ((4, "0.02500"), (5, "0.03000 [0.01000, 0.05000]")):
        tcn = facts("tcn", repetitions=n)
        text = to_markdown(build_report(stored([tcn], cell_of(tcn, [0.01 * (1 + i) for i in range(n)]))))
        assert line_of(text, "tcn")["median (95 % CI)"] == shown
        assert ("median: exact interval for any distribution" in text) is (n == 5)
