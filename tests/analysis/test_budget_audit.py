from __future__ import annotations

from dataclasses import replace

import pytest

from harness.analysis.budget_audit import budget_use, equalize_budgets
from harness.analysis.cell_result import summarize_cell
from harness.records import TaskRef, Training
from harness.report.formats import to_markdown
from harness.report.report import build_report
from tests.support.cells import ACCURACY, cell_of, facts, line_of, lines_of, repeated, rows, searched, stored, trial


def test_more_repetitions_are_capped_to_the_common_number() -> None:
    tcn, gru = facts("tcn", ACCURACY, repetitions=4), facts("gru", ACCURACY)
    study = stored([tcn, gru], [*cell_of(tcn, [90.0, 92.0, 10.0, 10.0]), *cell_of(gru, [80.0, 82.0])])
    row = rows(study)["tcn"]
    assert row.test is not None
    assert (row.test.n, row.test.mean, row.rank) == (2, 91.0, 1)
    text = to_markdown(build_report(study))
    assert "- tcn: capped to the common budget, the first 2 of 4 repetitions." in text
    assert lines_of(text, "Budget allocated and used")["tcn"]["repetitions (ended/allocated)"] == "4/4 (4 complete)"


def test_race_is_shown_whole_without_ranks() -> None:
    tcn, gru = facts("tcn", ACCURACY, repetitions=15), facts("gru", ACCURACY, repetitions=5)
    study = stored(
        [tcn, gru], [*cell_of(tcn, [90.0 + n for n in range(15)]), *cell_of(gru, [80.0 + n for n in range(5)])]
    )
    study = replace(study, manifest=study.manifest.model_copy(update={"race": True}))
    by_model = rows(study)
    assert {model: (row.rank, row.test and row.test.n, row.capped) for model, row in by_model.items()} == {
        "tcn": (None, 15, ""),
        "gru": (None, 5, ""),
    }
    text = to_markdown(build_report(study))
    assert line_of(text, "tcn")["rank"] == "race, 15 repetitions"
    assert line_of(text, "gru")["success rate (95 % CI)"].startswith("5/5 [")
    assert (
        "nothing is ranked or decided here. The recommendation is in recommendation.md, in the study's folder" in text
    )
    assert "Paired comparisons" not in text


def test_unfinished_cell_of_a_race_is_incomplete() -> None:
    tcn = facts("tcn", ACCURACY, repetitions=5)
    study = stored([tcn], cell_of(tcn, [90.0, 91.0]))
    study = replace(study, manifest=study.manifest.model_copy(update={"race": True}))
    assert rows(study)["tcn"].status == "incomplete 4/7"


def test_more_search_trials_are_capped_if_the_winner_is_among_the_first() -> None:
    tcn, gru = facts("tcn", trials=4), facts("gru")
    wide = [*searched(tcn.cell, [0.2, 0.1, 0.4, 0.3]), *repeated(tcn.cell, 1, [0.01, 0.04])]
    study = stored([tcn, gru], [*wide, *cell_of(gru, [0.1, 0.4])])
    row = rows(study)["tcn"]
    assert (row.rank, row.search_granted) == (1, 2)
    assert row.capped == "capped to the common budget, the first 2 of 4 search trials"


def test_winner_beyond_the_common_budget_is_not_compared() -> None:
    tcn, gru = facts("tcn", trials=4), facts("gru")
    wide = [*searched(tcn.cell, [0.2, 0.1, 0.4, 0.05]), *repeated(tcn.cell, 3, [0.01, 0.04])]
    study = stored([tcn, gru], [*wide, *cell_of(gru, [0.1, 0.4])])
    by_model = rows(study)
    assert {model: row.rank for model, row in by_model.items()} == {"tcn": None, "gru": 1}
    assert by_model["tcn"].status == "not comparable"
    assert by_model["tcn"].against_best is None
    text = to_markdown(build_report(study))
    assert line_of(text, "tcn")["rank"] == "not comparable"
    assert (
        "- tcn: not comparable: 4 search trials were allocated, but only 2 to another cell, and the best of the first 2"
        in text
    )


def test_superseded_repetitions_count_if_their_trial_wins_on_the_common_budget() -> None:
    tcn, gru = facts("tcn", trials=4), facts("gru")
    current = [
        replace(entry, trial=entry.trial.model_copy(update={"number": 2 + n}))
        for n, entry in enumerate(repeated(tcn.cell, 3, [0.001, 0.001]))
    ]
    wide = [*searched(tcn.cell, [0.2, 0.1, 0.4, 0.05]), *repeated(tcn.cell, 1, [0.01, 0.04]), *current]
    row = rows(stored([tcn, gru], [*wide, *cell_of(gru, [0.1, 0.4])]))["tcn"]
    assert row.test is not None
    assert row.rank == 1
    assert row.test.mean == pytest.approx(0.02)


@pytest.mark.parametrize("name", ["training", "parameters", "data", "task options"])
def test_cells_of_a_fair_task_with_different_conditions_are_not_compared(name: str) -> None:
    tcn, gru = facts("tcn").model_copy(update={"fingerprint": {name: "a"}}), facts("gru")
    other = gru.model_copy(update={"fingerprint": {name: "b"}})
    study = stored([tcn, other], [*cell_of(tcn, [0.01, 0.04]), *cell_of(other, [0.1, 0.4])])
    assert {row.rank for row in rows(study).values()} == {None}
    assert build_report(study).sections[0].pairs == ()
    assert f"not comparable: the cells of this task differ in {name}." in to_markdown(build_report(study))


def test_published_settings_of_one_protocol_may_differ() -> None:
    cells = [facts(model, trials=0).model_copy(update={"fingerprint": {"training": model}}) for model in ("a", "b")]
    results = [summarize_cell(cell, repeated(cell.cell, None, [0.1, 0.2])) for cell in cells]
    assert equalize_budgets(results, "paper").refused == {}


def test_published_setting_next_to_a_search_caps_nothing() -> None:
    tcn = facts("tcn", repetitions=3)
    shown = facts("tcn-published", trials=0, repetitions=1).model_copy(update={"setting": "published"})
    entries = [*cell_of(tcn, [0.1, 0.2, 0.3]), *repeated(shown.cell, None, [0.1])]
    assert equalize_budgets([summarize_cell(cell, entries) for cell in (tcn, shown)], "fair").capped == {}


def test_budget_use_counts_every_trial_and_names_what_selected_the_winner() -> None:
    tcn = facts("tcn", trials=3)
    entries = [
        *searched(tcn.cell, [0.2, 0.1, None]),
        *repeated(tcn.cell, 1, [0.01, 0.04]),
        *repeated(tcn.cell, 0, [9.0]),
    ]
    used = budget_use(summarize_cell(tcn, entries))
    assert used.search_outcomes == {"complete": 2, "diverged": 1}
    assert (used.repetition_outcomes, used.superseded) == ({"complete": 2}, 1)
    assert used.updates == 7 + 8 + 7
    assert (used.updates_allocated, used.batch_size) == (1, 1)
    assert used.selection == "validation, trial 1 of 3"
    assert (used.test_opened, used.test_due) == (3, 3)


def test_budget_use_of_trials_with_different_training_names_no_number() -> None:
    tcn = facts("tcn")
    first, *rest = cell_of(tcn, [0.01, 0.04])
    other = first.trial.model_copy(update={"training": Training(updates=9, batch_size=2, evaluate_every=1)})
    used = budget_use(summarize_cell(tcn, [replace(first, trial=other), *rest]))
    assert (used.updates_allocated, used.batch_size) == (None, None)


def test_audit_shows_data_seeds_and_devices() -> None:
    tcn = facts("tcn")
    entries = [
        replace(
            entry,
            trial=entry.trial.model_copy(update={"data": {"notes.mat": "0f" * 32}}),
            result=entry.result and entry.result.model_copy(update={"device": "cpu"}),
        )
        for entry in cell_of(tcn, [0.01, 0.04])
    ]
    text = to_markdown(build_report(stored([tcn], entries)))
    assert f"- data notes.mat: sha256 {'0f' * 32}." in text
    assert "- devices: cpu." in text
    seed = trial(tcn.cell, "final", 0).seeds.init
    assert f"- 2 seeds of initial weights, the same for every model: {seed}, {seed}" in text


def test_task_options_are_shown_next_to_the_budget() -> None:
    tcn = facts("tcn").model_copy(update={"task": TaskRef(name="copy", options={"length": 30})})
    assert "budget 1,000 parameters; length = 30." in to_markdown(build_report(stored([tcn], cell_of(tcn, [0.1, 0.2]))))
