"""The page of a recommendation, for every kind of answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.recommendation.page import brief, chance, duration, page
from harness.recommendation.pairwise import MOST_NEEDED
from harness.recommendation.result import Recommendation, train_command
from tests.support.cells import lines_of
from tests.support.races import Place
from tests.support.recommendations import answer, candidate

FOLDER = Path("runs/toys")


LEADER = candidate("gru", "leader")


@pytest.mark.parametrize(
    ("given", "title", "sentence"),
    [
        (
            answer("best", LEADER, candidate("rnn", "lost", dropped=5)),
            "toy-sum: use gru.",
            "best mean test mse of 2 models with probability 0.80",
        ),
        (answer("alone", LEADER), "toy-sum: use gru.", "gru is the only model; it is better than the floor."),
        (
            answer("equivalent", LEADER, candidate("rnn", "equivalent", seconds=1.0), equivalent=("rnn",)),
            "toy-sum: use gru or rnn.",
            "rnn is within a factor of 1.05 of it, the task's margin. rnn trains fastest.",
        ),
        (
            answer("undecided", LEADER, candidate("rnn", "open"), model=None),
            "toy-sum: inconclusive.",
            "gru leads and is the best with probability 0.80, but rnn may be as good or better: 10 repetitions are not "
            "enough for a decision. If you must choose now, take gru.",
        ),
        (
            answer("undecided", LEADER, model=None),
            "toy-sum: inconclusive.",
            "but it is not certain that it is better than the floor",
        ),
        (
            answer("nothing-learned", LEADER, model=None),
            "toy-sum: no recommendation.",
            "Nothing was learned: no model is better than the floor, mse 0.5000, by more than a factor of 1.05",
        ),
        (
            answer("failed", candidate("gru", "failed", reason="2 diverged"), model=None),
            "toy-sum: no recommendation.",
            "No repetition of any model has a score: 2 diverged.",
        ),
    ],
    ids=lambda value: value.verdict if isinstance(value, Recommendation) else "",
)
def test_title_and_sentence_state_the_answer(given: Recommendation, title: str, sentence: str) -> None:
    assert brief(given).startswith(title)
    assert sentence in brief(given)
    assert page(given, FOLDER).startswith(f"# {title[:-1]}\n")


def test_table_has_one_row_per_candidate() -> None:
    given = answer(
        "undecided",
        LEADER,
        candidate("rnn", "open", wins=6, shared=10, needed=29),
        candidate("lstm", "open", wins=5, shared=10),
        candidate("tcn", "lost", dropped=5, probability=0.001),
        candidate("ssm", "failed", mean=None, interval=None, probability=None, reason="2 diverged"),
        model=None,
    )
    rows = lines_of(page(given, FOLDER), "toy-sum: inconclusive")
    assert list(rows) == ["gru", "rnn", "lstm", "tcn", "ssm"]
    assert rows["rnn"]["repetitions needed"] == "29"
    assert rows["rnn"]["leader wins"] == "6 of 10"
    assert rows["lstm"]["repetitions needed"] == f"over {MOST_NEEDED:,}"
    assert rows["tcn"]["compared with leader"] == "lost after 5"
    assert rows["tcn"]["P(best)"] == "&lt; 0.01"
    assert rows["ssm"]["compared with leader"] == "FAILED: 2 diverged"


def test_models_that_learned_nothing_are_not_ranked() -> None:
    failed = candidate("ssm", "failed", mean=None, interval=None, probability=None, reason="2 diverged")
    given = answer("nothing-learned", LEADER, candidate("rnn", "equivalent"), failed, model=None)
    rows = lines_of(page(given, FOLDER), "toy-sum: no recommendation")
    places = [(row["compared with leader"], row["P(best)"]) for row in rows.values()]
    assert places == [("no better than the floor", "–"), ("no better than the floor", "–"), ("FAILED: 2 diverged", "–")]


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"hours": 3.0}, "about 3.0 h more at the measured speed, with 2 trials at the same time. Run the same command "
         "again with --repetitions 39 to resume."),  # of an earlier version, which did not store what was requested
        ({"hours": 3.0, "asked_repetitions": 38}, "again with --repetitions 39 to resume."),
        ({"hours": 3.0, "asked_repetitions": 38, "out_of_time": True}, "again with --repetitions 39 and more --minutes "
         "to resume."),
        ({"hours": 3.0, "asked_repetitions": 39, "out_of_time": True}, "again with more --minutes to resume."),
        ({"hours": None}, "no practical number of repetitions separates them"),
    ],
)  # fmt: skip
def test_inconclusive_page_says_what_a_decision_takes(changes: dict[str, object], advice: str) -> None:
    given = answer("undecided", LEADER, candidate("rnn", "open", needed=39), model=None, **changes)
    text = page(given, FOLDER)
    assert "Repetitions in all: rnn 39; " in text
    assert advice in text


def test_page_says_which_error_the_claims_share_and_when_test_scores_were_read() -> None:
    given = answer("best", LEADER, candidate("rnn", "lost", dropped=5), test_reads=(10, 29))
    text = page(given, FOLDER)
    assert "an error of 5 % over all pairs of models and all looks" in text
    assert "5 looks were planned" in text
    assert "test scores, which were read 2 times, after 10 and 29 repetitions" in text
    stored = answer("best", LEADER, candidate("rnn", "lost"))  # by a version that read test once, at the end
    assert "which were read once" in page(stored, FOLDER)


@pytest.mark.parametrize(
    ("probability", "text"),
    [(None, "–"), (0.0, "< 0.01"), (0.01, "0.01"), (0.5, "0.50"), (0.99, "0.99"), (1.0, "> 0.99")],
)
def test_probability_is_never_written_as_certain(probability: float | None, text: str) -> None:
    assert chance(probability) == text


@pytest.mark.parametrize(
    ("hours", "text"), [(1e-9, "1 s"), (0.01, "36 s"), (0.5, "30 min"), (2.0, "2.0 h"), (1234.5, "1,234.5 h")]
)
def test_time_is_written_in_the_unit_that_fits(hours: float, text: str) -> None:
    assert duration(hours) == text


def test_command_on_the_page_trains_the_winning_configuration(
    finished_race: tuple[Place, Recommendation],
) -> None:
    _, answer = finished_race
    command = train_command(answer)
    assert command is not None
    assert answer.winner is not None
    assert command.startswith(
        f"harness train toy-sum {answer.winner.trial.model} parameters=161 updates=300 batch_size=8"
    )
    assert f"learning_rate_factor={answer.winner.trial.params['learning_rate_factor']}" in command
    assert command in page(answer, Path("runs/toys"))


def test_models_off_the_budget_are_marked_in_the_answer_and_in_the_table() -> None:
    given = answer("best", candidate("gru", "leader", deviation_percent=-12.7), candidate("tcn", "lost"))
    assert brief(given).endswith(" Off the parameter budget by more than the tolerance: gru (-12.70 %).")
    lines = lines_of(page(given, FOLDER), "toy-sum: use gru")
    assert lines["**gru**"]["parameters"] == "161 (off budget -12.70 %)"
    assert lines["tcn"]["parameters"] == "161"
