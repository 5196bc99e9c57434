"""Writing to the ledger: order, attempts, points, results, repair, full disks."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from harness.errors import LedgerError
from harness.ledger.folder import JOURNAL
from harness.ledger.journal import read_study
from harness.ledger.ledger import Ledger, repair
from harness.records import Outcome
from tests.ledger.conftest import CELLS, make_manifest, make_point, make_result, make_trial, no_file_larger_than


def test_records_are_read_back_equal_and_in_the_order_of_their_start(ledger: Ledger) -> None:
    trials = [
        make_trial(0, cell=CELLS[1]),
        make_trial(0),
        make_trial(1, cell=CELLS[1]),
        make_trial(0, "final"),
        make_trial(1),
    ]
    for trial in trials:
        assert ledger.begin(trial) == 1
        ledger.report(trial.key, make_point(2))
        ledger.report(trial.key, make_point(4, gradient_norm=math.inf))
    outcomes: tuple[Outcome, ...] = ("complete", "diverged", "out-of-memory", "failed")
    for trial, outcome in zip(trials, outcomes, strict=False):
        ledger.finish(trial.key, make_result(outcome, 0.25 if outcome == "complete" else None))

    again = Ledger(ledger.folder, make_manifest()).entries()

    assert [entry.trial for entry in again] == trials
    assert again == ledger.entries()
    assert [entry.result.outcome if entry.result else None for entry in again] == [*outcomes, None]
    assert all(entry.points == (make_point(2), make_point(4, gradient_norm=math.inf)) for entry in again)
    assert read_study(ledger.folder).entries() == again


def test_a_nan_survives_the_journal(ledger: Ledger) -> None:
    trial = make_trial()
    ledger.begin(trial)
    ledger.report(trial.key, make_point(2, gradient_norm=math.nan))
    assert math.isnan(read_study(ledger.folder).entries()[0].points[0].gradient_norm)


def test_a_retry_counts_attempts_and_keeps_the_curve(ledger: Ledger) -> None:
    trial = make_trial()
    ledger.begin(trial)
    ledger.report(trial.key, make_point(2))
    assert ledger.begin(trial) == 2
    assert Ledger(ledger.folder, make_manifest()).begin(trial) == 3
    (entry,) = read_study(ledger.folder).entries()
    assert (entry.attempt, entry.points) == (3, (make_point(2),))


def test_points_that_a_resumed_worker_repeats_are_written_once(ledger: Ledger) -> None:
    trial = make_trial()
    ledger.begin(trial)
    written = [ledger.report(trial.key, make_point(update)) for update in (2, 4, 6, 2, 4, 6, 8)]
    assert written == [True, True, True, False, False, False, True]
    reopened = Ledger(ledger.folder, make_manifest())
    assert not reopened.report(trial.key, make_point(8))
    assert [point.update for point in read_study(ledger.folder).entries()[0].points] == [2, 4, 6, 8]
    lines = (ledger.folder / JOURNAL).read_text().splitlines()
    assert sum("point/" in line for line in lines) == 4


def test_more_than_ten_points_keep_their_order(ledger: Ledger) -> None:
    trial = make_trial()
    ledger.begin(trial)
    for update in range(1, 26):
        ledger.report(trial.key, make_point(update))
    assert [point.update for point in read_study(ledger.folder).entries()[0].points] == list(range(1, 26))


def test_a_second_result_is_rejected_and_changes_nothing(ledger: Ledger) -> None:
    trial = make_trial()
    ledger.begin(trial)
    ledger.finish(trial.key, make_result())
    before = (ledger.folder / JOURNAL).read_bytes()
    for again in (ledger, Ledger(ledger.folder, make_manifest())):
        with pytest.raises(LedgerError, match="id/sum/ema/search/0: has already ended as complete"):
            again.finish(trial.key, make_result("failed", None))
    assert (ledger.folder / JOURNAL).read_bytes() == before
    ledger.begin(make_trial(1))  # the error was the caller's: the ledger can still be written


def test_a_trial_without_its_last_record_has_not_ended(ledger: Ledger) -> None:
    trial = make_trial()
    ledger.begin(trial)
    ledger.finish(trial.key, make_result())
    lines = (ledger.folder / JOURNAL).read_bytes().splitlines(keepends=True)
    (ledger.folder / JOURNAL).write_bytes(b"".join(lines[:-1]))
    again = Ledger(ledger.folder, make_manifest())
    assert again.entry(trial.key).result is None
    again.begin(trial)
    again.finish(trial.key, make_result(score=0.5))
    (entry,) = read_study(ledger.folder).entries()
    assert entry.result == make_result(score=0.5)


@pytest.mark.parametrize(
    "tail",
    [b'{"op_code":5,"worker_', b"\x00" * 100, b"garbage\n", b"\xff\xfe\n", b"42\n", b"{}\n", b"\n", b"x\ny\n\n{"],
    ids=["half a line", "zeros", "a line", "no text", "a number", "an empty record", "an empty line", "several"],
)
def test_an_incomplete_last_record_is_cut_and_reported(ledger: Ledger, tail: bytes) -> None:
    trial = make_trial()
    ledger.begin(trial)
    ledger.report(trial.key, make_point(2))
    before = ledger.entries()
    journal = ledger.folder / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + tail)

    message = repair(ledger.folder)

    assert message is not None
    assert f"{len(tail)} bytes" in message
    assert journal.read_bytes() == whole
    again = Ledger(ledger.folder, make_manifest())
    assert again.entries() == before
    again.finish(trial.key, make_result())
    assert read_study(ledger.folder).entries()[0].result == make_result()
    assert repair(ledger.folder) is None


def test_any_cut_of_the_journal_is_repaired_to_a_prefix(ledger: Ledger) -> None:
    trial = make_trial()
    ledger.begin(trial)
    ledger.report(trial.key, make_point(2))
    ledger.report(trial.key, make_point(4))
    journal = ledger.folder / JOURNAL
    whole = journal.read_bytes()
    for length in range(0, len(whole), 37):
        journal.write_bytes(whole[:length])
        repair(ledger.folder)
        entries = Ledger(ledger.folder, make_manifest()).entries()
        assert whole.startswith(journal.read_bytes())
        assert [point for entry in entries for point in entry.points] in (
            [],
            [make_point(2)],
            [make_point(2), make_point(4)],
        )


@pytest.mark.parametrize("content", [b"", b"half", b"half\n"])
def test_a_journal_without_a_whole_record_starts_empty(tmp_path: Path, content: bytes) -> None:
    (tmp_path / JOURNAL).write_bytes(content)
    assert (repair(tmp_path) is None) == (content == b"")
    ledger = Ledger(tmp_path, make_manifest())
    assert ledger.entries() == ()
    ledger.begin(make_trial())
    assert len(Ledger(tmp_path, make_manifest()).entries()) == 1


def test_repair_of_a_folder_without_a_journal_does_nothing(tmp_path: Path) -> None:
    assert repair(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_one_line_error_and_earlier_records_stay(ledger: Ledger) -> None:
    trial = make_trial()
    ledger.begin(trial)
    ledger.report(trial.key, make_point(2))
    journal = ledger.folder / JOURNAL
    size = journal.stat().st_size
    with (
        no_file_larger_than(size + 25),
        pytest.raises(LedgerError, match=r"cannot be written \(File too large\)") as caught,
    ):
        ledger.report(trial.key, make_point(4))
    assert str(ledger.folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert journal.stat().st_size == size + 25, "the write was not cut short, so this test shows nothing"
    assert repair(ledger.folder) is not None
    (entry,) = Ledger(ledger.folder, make_manifest()).entries()
    assert (entry.points, entry.result) == ((make_point(2),), None)


def test_after_a_failed_write_nothing_is_appended(ledger: Ledger) -> None:
    trial = make_trial()
    ledger.begin(trial)
    journal = ledger.folder / JOURNAL
    with no_file_larger_than(journal.stat().st_size + 25), pytest.raises(LedgerError, match="cannot be written"):
        ledger.report(trial.key, make_point(2))
    half = journal.read_bytes()
    for write in (
        lambda: ledger.report(trial.key, make_point(4)),
        lambda: ledger.begin(make_trial(1)),
        lambda: ledger.finish(trial.key, make_result()),
    ):
        with pytest.raises(LedgerError, match="cannot be written"):
            write()
    assert journal.read_bytes() == half
    repair(ledger.folder)
    assert len(Ledger(ledger.folder, make_manifest()).entries()) == 1


def test_each_line_of_the_journal_is_one_record(ledger: Ledger) -> None:
    trial = make_trial()
    ledger.begin(trial)
    ledger.report(trial.key, make_point(2))
    ledger.finish(trial.key, make_result())
    lines = (ledger.folder / JOURNAL).read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert all(isinstance(json.loads(line), dict) for line in lines)


def test_the_study_of_a_cell_has_the_direction_of_its_metric(ledger: Ledger) -> None:
    for cell in CELLS:
        ledger.begin(make_trial(cell=cell))
    lines = [json.loads(line) for line in (ledger.folder / JOURNAL).read_text().splitlines()]
    directions = {line["study_name"]: line["directions"] for line in lines if "study_name" in line}
    assert directions == {"sum/ema/search": [1], "ragged/ema/search": [2]}  # optuna.study.StudyDirection
