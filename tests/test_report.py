from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import markdown
from harness.document import quote
from harness.formats import to_html, to_markdown
from harness.ledger import Entry
from harness.plan import make_plan
from harness.records import (
    Cell,
    LeftOut,
    MetricFacts,
    TaskRef,
    Training,
    TrialResult,
)
from harness.registry import Registry
from harness.report import build_report, build_table
from harness.results import Mark, standing
from harness.sheet import COLUMNS, to_csv
from harness.statistics import summarise
from harness.table import number
from tests.cells import (
    ACCURACY,
    LOSS,
    cell_of,
    facts,
    line_of,
    lines_of,
    repeated,
    rows,
    searched,
    stored,
    trial,
)
from tests.conftest import MakeStudy

TRY = Training(updates=1, batch_size=1, evaluate_every=1, evaluation_limit=256)
ORDER = hashlib.sha256(b"[3,1,2]").hexdigest()[:16]


def test_complete_cells_are_ranked_by_mean_with_the_best_in_bold() -> None:
    tcn, gru = facts("tcn"), facts("gru")
    study = stored([tcn, gru], [*cell_of(tcn, [0.01, 0.04]), *cell_of(gru, [0.1, 0.4])])
    assert {model: row.rank for model, row in rows(study).items()} == {"tcn": 1, "gru": 2}
    text = to_markdown(build_report(study))
    best = line_of(text, "tcn")
    assert best["test: mean [95 %]"].startswith("**0.02000 [")
    wanted = {"rank": "1", "median [95 %]": "0.02500", "success": "2/2 [0.16, 1.00]", "against the best": "best mean"}
    wanted |= {"last 3": "0.04000", "best validation": "0.1000", "parameters": "1,010", "off budget": "+1.00 %"}
    wanted |= {"search trials": "2/2", "updates": "7 to 8", "published": "3.500e-05"}
    assert wanted.items() <= best.items()
    other = line_of(text, "gru")
    assert "**" not in " ".join(other.values())
    assert other["against the best"] == "undecided, 2 of 29 pairs"
    assert text.count("published: Table 1.") == 1
    assert "2 of 2 cells are complete; the store holds 8 trials that have ended, of 8 in the ledger" in text


def test_options_drawn_orders_and_partial_scores_are_told() -> None:
    tcn = facts("tcn").model_copy(update={"task": TaskRef(name="copy", options={"fraction": 0.1})})
    limited = [
        replace(entry, trial=entry.trial.model_copy(update={"training": TRY})) for entry in cell_of(tcn, [0.01, 0.04])
    ]
    study = stored([tcn], limited)
    fixed = {"copy": {"permutation": (3, 1, 2)}}
    study = replace(study, manifest=study.manifest.model_copy(update={"fixed": fixed}))
    text = to_markdown(build_report(study))
    assert "; fraction = 0.1." in text
    assert f"permutation: 3 numbers drawn from the study's seed, the same in every trial, 3 1 2 …, sha256 {ORDER}" in (
        text
    )
    assert "a try: scored on the first 256 held-out sequences, or windows of a stream, alone." in text
    assert "\n- a try" not in to_markdown(build_report(stored([tcn], cell_of(tcn, [0.01, 0.04]))))


@pytest.mark.parametrize(("better", "first"), [("lower", "a"), ("higher", "b")])
def test_rank_follows_the_direction_of_the_metric(better: Literal["lower", "higher"], first: str) -> None:
    metric = ACCURACY.model_copy(update={"better": better})
    cells = [facts("a", metric), facts("b", metric)]
    study = stored(cells, [*cell_of(cells[0], [10.0, 12.0]), *cell_of(cells[1], [20.0, 22.0])])
    assert [model for model, row in rows(study).items() if row.rank == 1] == [first]


def test_ten_pairs_decide_which_models_are_better_and_which_equivalent() -> None:
    cells = [facts(model, ACCURACY, repetitions=20) for model in ("best", "near", "far", "odd")]
    base = [90.0 + 0.1 * i for i in range(20)]
    scores = (
        base,
        [one - 0.25 for one in base],
        [one - 2 for one in base],
        [one + (-1) ** i for i, one in enumerate(base)],
    )
    study = stored(cells, [entry for one, score in zip(cells, scores, strict=True) for entry in cell_of(one, score)])
    decisions = {model: row.against_best for model, row in rows(study).items()}
    assert {model: one and one.verdict for model, one in decisions.items()} == {
        "best": None,
        "near": "equivalent",
        "far": "worse",
        "odd": "undecided",
    }
    text = to_markdown(build_report(study))
    pairs = lines_of(text, "Which differences are sure", "pair")
    assert pairs["best / far"]["decision"] == "best is better"
    assert pairs["best / far"]["P(first wins) [95 %]"] == "1.00 [0.83, 1.00]"
    assert pairs["best / near"]["decision"] == "equivalent"
    assert pairs["best / odd"]["decision"] == "undecided, 20 of 44 pairs"
    assert "Holm" in text
    assert "within 0.5000, the task's margin" in text


@pytest.mark.parametrize(("metric", "geometric"), [(LOSS, True), (ACCURACY, False)])
def test_mean_of_what_tuning_buys_is_said_to_be_geometric_where_it_is(metric: MetricFacts, geometric: bool) -> None:
    one = facts("tcn", metric)
    text = to_markdown(build_report(stored([one], cell_of(one, [0.1, 0.2]))))
    assert ("Expected best of k trials (geometric: means on a log scale), unbiased" in text) is geometric
    assert lines_of(text, "What tuning buys", "best")["tcn"]["k = 1"] == ("0.1414" if geometric else "0.1500")


def test_equal_means_share_a_rank() -> None:
    cells = [facts(model, ACCURACY) for model in ("a", "b", "c")]
    scores = ([90.0, 92.0], [91.0, 91.0], [80.0, 80.0])
    study = stored(cells, [entry for one, score in zip(cells, scores, strict=True) for entry in cell_of(one, score)])
    assert {model: row.rank for model, row in rows(study).items()} == {"a": 1, "b": 1, "c": 3}


def test_published_setting_of_a_fair_study_is_shown_and_shifts_no_rank() -> None:
    cells = [facts(model, ACCURACY) for model in ("best", "near", "far")]
    scores = ([90.0, 90.0], [89.75, 89.75], [89.0, 89.0])
    entries = [entry for one, score in zip(cells, scores, strict=True) for entry in cell_of(one, score)]
    shown = facts("best-published", ACCURACY, trials=0).model_copy(update={"setting": "published"})
    study = stored([*cells, shown], [*entries, *repeated(shown.cell, None, [99.0, 99.0], ACCURACY)])
    found = {model: row.rank for model, row in rows(study).items()}
    assert found == {"best": 1, "near": 2, "far": 3, "best-published": None}
    assert [(pair.one, pair.other) for pair in build_report(study).sections[0].pairs] == [
        ("best", "near"),
        ("best", "far"),
        ("near", "far"),
    ]
    text = to_markdown(build_report(study))
    shown_line = line_of(text, "best-published")
    assert (shown_line["rank"], shown_line["test: mean [95 %]"]) == ("published", "99.00 [99.00, 99.00]")
    assert line_of(text, "best")["test: mean [95 %]"].startswith("**90.00")
    assert "beside the search, chosen with the test set in view and not ranked" in text
    lines = csv.DictReader(io.StringIO(to_csv(build_report(study))))
    assert [(line["setting"], line["rank"]) for line in lines][-2:] == [("searched", "3"), ("published", "")]


def test_published_setting_that_waits_for_repetitions_says_so() -> None:
    one = facts("tcn", trials=0).model_copy(update={"setting": "published"})
    study = stored([one], repeated(one.cell, None, [0.01]))
    assert line_of(to_markdown(build_report(study)), "tcn")["rank"] == "published, incomplete 1/2"


@pytest.mark.parametrize(("protocol", "setting"), [("fair", "published"), ("paper", "searched")])
def test_plan_marks_a_published_setting_beside_a_search(
    toy_registry: Registry, toy_study: MakeStudy, protocol: str, setting: str
) -> None:
    model = {"name": "toy-ema", "setting": "published"}
    (plan,) = make_plan(toy_study(protocol=protocol, models=[model], tasks=[{"name": "toy-sum"}]), toy_registry).cells
    assert (plan.facts.setting, plan.facts.task_parameters) == (setting, 161)


def test_plan_marks_what_it_searches_and_knows_the_size_of_the_task(
    toy_registry: Registry, toy_study: MakeStudy
) -> None:
    sizes = {"toy-sum": 161, "toy-sum-length-9": None}
    tasks = [{"name": "toy-sum", "parameters": 200}, {"name": "toy-sum", "length": 9, "parameters": 200}]
    plan = make_plan(toy_study(models=["toy-stack"], tasks=tasks), toy_registry)
    assert {one.cell.task: one.facts.task_parameters for one in plan.cells} == sizes
    assert {one.facts.setting for one in plan.cells} == {"searched"}


def test_every_spread_says_what_varies() -> None:
    for metric, scale in ((LOSS, "geometric"), (ACCURACY, "mean, std and Student's t")):
        one = facts("tcn", metric)
        text = to_markdown(build_report(stored([one], cell_of(one, [0.01, 0.04]))))
        assert scale in text
        assert "over repetitions: fresh data order, initial weights, dropout (and synthetic training data)" in text


def test_cell_that_waits_for_repetitions_is_incomplete_and_unranked() -> None:
    one = facts("tcn", repetitions=3)
    study = stored([one], cell_of(one, [0.01, 0.04]))
    assert rows(study)["tcn"].rank is None
    cells = line_of(to_markdown(build_report(study)), "tcn")
    assert cells["rank"] == "incomplete 4/5"
    assert cells["test: mean [95 %]"].startswith("0.02000")
    assert build_table(study)["tcn"].isna().all()


def test_cell_that_lacks_trials_of_its_ledger_is_not_ranked() -> None:
    one = facts("tcn")
    whole = cell_of(one, [0.01, 0.04])
    later = replace(whole[0], trial=trial(one.cell, "search", 2))
    study = stored([one], whole, ledger=[*whole, later])
    row = rows(study)["tcn"]
    assert (row.state, row.lacking, row.rank) == ("complete", 1, None)
    assert row.standing == "incomplete 4/4: the store and its mark differ by 1"
    assert "holds 4 trials that have ended, of 5 in the ledger" in to_markdown(build_report(study))


def test_store_without_a_mark_ranks_nothing() -> None:
    one = facts("tcn")
    study = replace(stored([one], cell_of(one, [0.01, 0.04])), mark=None)
    row = rows(study)["tcn"]
    assert (row.rank, row.standing) == (None, "incomplete 4/4: the store has no mark")
    assert "holds 4 trials that have ended, and no mark of how many there are." in to_markdown(build_report(study))


def test_cell_without_a_complete_trial_is_failed_with_its_reason() -> None:
    one, other = facts("lstm"), facts("tcn")
    study = stored(
        [one, other], [*searched(one.cell, [None, None], reason="loss | is nan"), *cell_of(other, [0.01, 0.04])]
    )
    assert rows(study)["lstm"].rank is None
    cells = line_of(to_markdown(build_report(study)), "lstm")
    assert cells["rank"] == "FAILED"
    assert cells["test: mean [95 %]"] == "FAILED: 2 diverged: loss &#124; is nan"
    assert cells["search trials"] == "2/2 (2 diverged)"


def test_search_in_progress_is_incomplete_even_where_all_so_far_failed() -> None:
    one = facts("lstm", trials=3)
    study = stored([one], searched(one.cell, [None, None]))
    assert rows(study)["lstm"].standing == "incomplete 2/5"


def test_cell_with_a_repetition_lost_is_not_ranked() -> None:
    one = facts("tcn")
    entries = cell_of(one, [0.01, 0.04])
    lost = replace(entries[3], result=TrialResult(outcome="out-of-memory", reason="17 GiB", test_opened=0))
    study = stored([one], [*entries[:3], lost])
    row = rows(study)["tcn"]
    assert (row.state, row.rank, row.standing) == ("partial", None, "1 of 2 repetitions have a score")
    text = to_markdown(build_report(study))
    assert "tcn: repetitions: 1 out-of-memory: 17 GiB." in text
    cells = line_of(text, "tcn")
    assert (cells["success"], cells["search trials"]) == ("1/2 (1 out-of-memory) [0.01, 0.99]", "2/2")


def test_losses_are_counted_by_phase() -> None:
    one = facts("tcn", trials=3)
    finals = repeated(one.cell, 0, [0.01, 0.04])
    lost = replace(finals[1], result=TrialResult(outcome="diverged", reason="nan in a final"))
    study = stored([one], [*searched(one.cell, [0.1, None, None], "failed", "no draw"), finals[0], lost])
    report = build_report(study)
    cells = line_of(to_markdown(report), "tcn")
    assert (cells["success"], cells["search trials"]) == ("1/2 (1 diverged) [0.01, 0.99]", "3/3 (2 failed)")
    assert "- tcn: 2 failed: no draw; repetitions: 1 diverged: nan in a final." in to_markdown(report)
    (line,) = csv.DictReader(io.StringIO(to_csv(report)))
    wanted = {"search_complete": "1", "search_failed": "2", "search_diverged": "0"}
    assert (wanted | {"repetitions_complete": "1", "repetitions_failed": "0", "repetitions_diverged": "1"}).items() <= (
        line.items()
    )


def measured(entry: Entry, seconds: float, peak_bytes: int | None, rejections: tuple[str, ...] = ()) -> Entry:
    assert entry.result is not None
    params = {"kernel_size": 3 + entry.trial.number, "factor": 1 / 3, "clip": None, "bias": True}
    return replace(
        entry,
        trial=entry.trial.model_copy(update={"params": params, "rejections": rejections}),
        result=entry.result.model_copy(update={"train_seconds": seconds, "peak_bytes": peak_bytes}),
    )


def test_notes_tell_the_winners_dimensions_the_cost_and_the_rejected_draws() -> None:
    one = facts("tcn")
    first, best, *finals = cell_of(one, [0.01, 0.04])
    wide = [f"no width meets 1,000 parameters: widths {width} have {width**2}" for width in (31, 33)]
    entries = [
        measured(first, 10.0, 2**29, ("1 layers reach 2 steps", wide[0])),
        measured(best, 20.5, 3 * 2**29, (wide[1],)),
        *(measured(final, 30.0, None) for final in finals),
    ]
    report = build_report(stored([one], entries))
    assert (
        "- tcn: winner kernel_size=4, factor=0.3333, clip=none, bias=true; 90.50 s of training; "
        "peak memory 1.50 GiB; 3 draws rejected, most often: "
        "no width meets 1,000 parameters: widths 31 have 961.\n"
    ) in to_markdown(report)
    (line,) = csv.DictReader(io.StringIO(to_csv(report)))
    assert (line["seconds"], line["peak_bytes"], line["rejections"]) == ("90.5", str(3 * 2**29), "3")


def test_cost_counts_superseded_repetitions() -> None:
    one = facts("tcn")
    old = [measured(entry, 7.0, 2**31) for entry in repeated(one.cell, 0, [9.0])]
    row = rows(stored([one], [*cell_of(one, [0.01, 0.04]), *old]))["tcn"]
    assert (row.superseded, row.seconds, row.peak_bytes) == (1, 7.0, 2**31)


def test_best_of_a_search_in_progress_is_not_called_a_winner() -> None:
    one = facts("tcn", trials=3)
    entries = [measured(entry, 1.0, None) for entry in searched(one.cell, [0.2])]
    text = to_markdown(build_report(stored([one], entries)))
    assert "- tcn: best so far kernel_size=3, factor=0.3333, clip=none, bias=true; 1.000 s of training.\n" in text


def test_published_widths_are_compared_with_the_published_size_of_the_task() -> None:
    one = facts("lstm", trials=0).model_copy(update={"parameters": None, "task_parameters": 480})
    entries = [measured(entry, 1.0, None) for entry in repeated(one.cell, None, [0.01, 0.04])]
    report = build_report(stored([one], entries))
    text = to_markdown(report)
    line = line_of(text, "lstm")
    assert (line["parameters"], line["off budget"]) == ("1,010", "+110.42 %")
    assert "; published size 480 parameters." in text
    assert "off budget: from the task's published size" in text
    assert "- lstm: published setting kernel_size=3" in text
    (line,) = csv.DictReader(io.StringIO(to_csv(report)))
    assert (line["budget"], line["task_parameters"]) == ("", "480")
    assert float(line["deviation_percent"]) == pytest.approx(100 * (1010 / 480 - 1))


def test_budget_comes_before_the_published_size_of_the_task() -> None:
    one = facts("tcn").model_copy(update={"task_parameters": 480})
    text = to_markdown(build_report(stored([one], cell_of(one, [0.01, 0.04]))))
    assert line_of(text, "tcn")["off budget"] == "+1.00 %"
    assert "published size" not in text


def test_published_setting_needs_no_search() -> None:
    one = facts("tcn", trials=0).model_copy(update={"parameters": None, "assumed": ("clip",)})
    study = stored([one], repeated(one.cell, None, [0.01, 0.04]))
    row = rows(study)["tcn"]
    assert (row.rank, row.parameters, row.deviation_percent, row.best_validation) == (1, 1010, None, None)
    text = to_markdown(build_report(study))
    line = line_of(text, "tcn")
    assert [line[name] for name in ("best validation", "parameters", "off budget", "search trials")] == [
        "–",
        "1,010",
        "–",
        "–",
    ]
    assert "assumed, since its source does not state them: clip." in text


def test_superseded_repetitions_are_counted_not_averaged() -> None:
    one = facts("tcn", trials=3)
    entries = [*searched(one.cell, [0.2, 0.1, 0.05]), *repeated(one.cell, 1, [9.0, 9.0])]
    present = [
        replace(entry, trial=entry.trial.model_copy(update={"number": 2 + n}))
        for n, entry in enumerate(repeated(one.cell, 2, [0.01, 0.04]))
    ]
    study = stored([one], [*entries, *present])
    row = rows(study)["tcn"]
    assert row.test is not None
    assert row.test.mean == pytest.approx(0.02)
    assert (row.superseded, row.test_opened, row.rank) == (2, 4, 1)
    assert "2 repetitions of an earlier winner are superseded; the test split was scored 4 times in all" in to_markdown(
        build_report(study)
    )


def test_score_of_zero_on_a_log_scale_is_averaged_on_a_linear_one_and_said() -> None:
    # The geometric mean of the other, 0.02, would beat the arithmetic mean of the better one.
    one, other = facts("tcn"), facts("gru")
    study = stored([one, other], [*cell_of(one, [0.0, 0.042]), *cell_of(other, [0.01, 0.04])])
    tests = {model: row.test for model, row in rows(study).items()}
    assert {model: test and (test.scale, test.mean) for model, test in tests.items()} == {
        "tcn": ("linear", 0.021),
        "gru": ("linear", 0.025),
    }
    assert rows(study)["tcn"].rank == 1
    text = to_markdown(build_report(study))
    assert "every mean, std and interval of this task is on a linear scale" in text
    assert "mean (geometric)" not in text


def test_cell_of_which_some_repetitions_fail_has_an_interval_of_those_that_succeed_alone() -> None:
    one = facts("tcn", ACCURACY, repetitions=5).model_copy(update={"floor": 10.0})
    study = stored([one], cell_of(one, [90.0, 92.0, 91.0, 10.0, 89.0]))
    row = rows(study)["tcn"]
    assert row.test is not None
    assert row.successes is not None
    assert (row.test.mean, row.test.interval) == (74.4, None)
    assert row.successes == summarise([90.0, 92.0, 91.0, 89.0])
    report = build_report(study)
    text = to_markdown(report)
    line = line_of(text, "tcn")
    assert (line["test: mean [95 %]"], line["success"]) == ("**74.40**", "4/5 [0.28, 0.99]")
    assert "Of those that succeed (4), and given that a run does: mean 90.50 [88.45, 92.55]." in text
    assert [one.verdict for section in report.sections for one in section.reproductions] == ["under-powered"]
    (sheet,) = csv.DictReader(io.StringIO(to_csv(report)))
    assert (sheet["test_low"], sheet["successes_mean"], sheet["successes_n"]) == ("", "90.5", "4")


@pytest.mark.parametrize("fails", [False, True])
def test_difference_of_means_is_none_where_a_mean_stands_for_nothing(fails: bool) -> None:
    cells = [facts(model, ACCURACY, repetitions=10).model_copy(update={"floor": 10.0}) for model in ("a", "b")]
    base = [90.0 + 0.1 * i for i in range(10)]
    failing = [10.0, *base[1:]] if fails else base
    study = stored(cells, [*cell_of(cells[0], failing), *cell_of(cells[1], failing)])
    ((pair,),) = [section.pairs for section in build_report(study).sections]
    assert (pair.decision.difference is None) is fails
    assert pair.decision.verdict == ("undecided" if fails else "equivalent")


@pytest.mark.parametrize(("scores", "skewed"), [([0.1, 0.2, 3.0], True), ([3.0, 3.1, 3.3], False)])
def test_interval_of_skewed_scores_on_a_linear_scale_is_said_to_be_short(scores: list[float], skewed: bool) -> None:
    metric = LOSS.model_copy(update={"scale": "linear", "margin": 0.0})
    one = facts("tcn", metric, repetitions=3).model_copy(update={"floor": 9.0})
    text = to_markdown(build_report(stored([one], cell_of(one, scores))))
    assert ("its std is more than half its mean" in text) is skewed


def test_median_has_its_interval_from_five_repetitions_on() -> None:
    for n, shown in ((4, "0.02500"), (5, "0.03000 [0.01000, 0.05000]")):
        one = facts("tcn", repetitions=n)
        text = to_markdown(build_report(stored([one], cell_of(one, [0.01 * (1 + i) for i in range(n)]))))
        assert line_of(text, "tcn")["median [95 %]"] == shown
        assert ("median: exact interval, whatever the distribution" in text) is (n == 5)


def test_repetition_whose_test_score_is_not_finite_counts_as_lost() -> None:
    one = facts("tcn")
    study = stored([one], cell_of(one, [math.inf, 0.04]))
    assert rows(study)["tcn"].standing == "1 of 2 repetitions have a score"


def test_left_out_cells_and_older_studies_are_told() -> None:
    one = facts("tcn")
    left = LeftOut(cell=Cell(task="copy", model="rnn"), reason="no published setting")
    study = stored([one], cell_of(one, [0.01, 0.04]), left_out=(left,), others=("s0",))
    text = to_markdown(build_report(study))
    assert "- copy/rnn: no published setting" in text
    assert "the newest; others: s0." in text


def test_strings_of_others_cannot_break_the_page() -> None:
    evil = "a|b <script>alert(1)</script> [x](http://e) `c`\n| d | *e* _f_ @g"
    metric = LOSS.model_copy(update={"name": evil, "unit": evil})
    one = facts("tcn", metric).model_copy(update={"published_source": evil, "assumed": (evil,)})
    entries = [
        *searched(one.cell, [0.1, None], outcome="failed", reason=evil),
        *repeated(one.cell, 0, [0.1, 0.2], metric),
    ]
    strange = {"params": {evil: evil}, "rejections": (evil,)}
    entries[0] = replace(entries[0], trial=entries[0].trial.model_copy(update=strange))
    text = to_markdown(build_report(stored([one], entries, study=evil)))
    assert "<" not in text
    assert "@" not in text
    assert "](" not in text.replace("\\](", "")
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    page = to_html(build_report(stored([one], entries, study=evil)))
    assert "<script>alert" not in page
    assert page.count("<script>") == 1


@given(st.text(max_size=400))
def test_quoted_and_escaped_text_stays_in_its_cell(text: str) -> None:
    shown = markdown.escape(quote(text))
    assert len(shown.splitlines()) <= 1
    assert not set("|<>@") & set(shown)
    assert len(quote(text)) <= 300


def test_build_table_has_a_row_a_task_and_a_column_a_model() -> None:
    cells = [facts("tcn"), facts("gru"), facts("tcn", ACCURACY, task="digits")]
    study = stored(cells, [*cell_of(cells[0], [0.01, 0.04]), *cell_of(cells[2], [90.0, 92.0])])
    table = build_table(study)
    assert (list(table.index), list(table.columns)) == (["copy", "digits"], ["tcn", "gru"])
    assert table.loc["copy", "tcn"] == pytest.approx(0.02)
    assert table.loc["digits", "tcn"] == 91.0
    assert table["gru"].isna().all()


def test_csv_has_a_line_a_cell_at_full_precision() -> None:
    one = facts("tcn", ACCURACY)
    left = LeftOut(cell=Cell(task="copy", model="rnn"), reason="=cmd()")
    scores = [1 / 3, 2 / 7]
    lines = list(
        csv.DictReader(io.StringIO(to_csv(build_report(stored([one], cell_of(one, scores), left_out=(left,))))))
    )
    assert [list(line) for line in lines] == [list(COLUMNS)] * 2
    assert float(lines[0]["test_mean"]) == pytest.approx(sum(scores) / 2, rel=1e-15)
    wanted = {"task": "copy", "model": "tcn", "state": "complete", "rank": "1", "search_complete": "2", "test_n": "2"}
    assert wanted.items() <= lines[0].items()
    assert (lines[1]["model"], lines[1]["state"], lines[1]["reason"]) == ("rnn", "left-out", "'=cmd()")


def test_summary_of_a_cell_ignores_other_cells() -> None:
    tcn, gru = facts("tcn"), facts("gru")
    one = standing(tcn, [*cell_of(tcn, [0.01, 0.04]), *cell_of(gru, [1.0, 1.0])])
    assert one.scores("test") == [0.01, 0.04]
    assert one.scores("test-last3") == [0.02, 0.08]


def test_mark_survives_json() -> None:
    one = facts("tcn")
    mark = Mark.of([*cell_of(one, [0.01, 0.04]), Entry(trial(one.cell, "search", 5), 1)])
    assert (mark.total, mark.ended) == (5, 4)
    assert Mark.from_json(mark.to_json()) == mark


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (97.1234, "97.12"),
        (100.0, "100.0"),
        (1234.4, "1234"),
        (9999.9, "10000"),
        (123456.0, "123456"),
        (12345678.0, "1.235e+07"),
        (0.00123456, "0.001235"),
        (3.5e-5, "3.500e-05"),
        (-0.5, "-0.5000"),
        (math.inf, "inf"),
    ],
)
def test_number_has_four_significant_digits(value: float | None, text: str) -> None:
    assert number(value) == text
