from __future__ import annotations

import contextlib
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import LedgerError
from harness.ledger.folder import JOURNAL, MANIFEST, read_manifest, write_atomically
from harness.ledger.journal import read_study
from harness.ledger.ledger import Ledger, repair
from harness.records import (
    Cell,
    CellFacts,
    Manifest,
    MetricFacts,
    Optimisation,
    Outcome,
    Phase,
    Point,
    TaskRef,
    Training,
    Trial,
    TrialResult,
)
from harness.seeds import Seeds

CELLS = (Cell(task="sum", model="ema"), Cell(task="ragged", model="ema"))


def make_manifest() -> Manifest:
    facts = tuple(
        CellFacts(
            cell=cell,
            task=TaskRef(name=cell.task),
            model=cell.model,
            metric=MetricFacts(name="score", unit="", better="lower" if cell.task == "sum" else "higher"),
            parameters=100,
            trials=3,
            repetitions=2,
            fingerprint={"seed": "0"},
        )
        for cell in CELLS
    )
    return Manifest(study="s", study_id="id", created=1.5, protocol="fair", sampler="random", seed=0, cells=facts)


def make_trial(number: int = 0, phase: Phase = "search", cell: Cell = CELLS[0]) -> Trial:
    return Trial(
        study="id",
        cell=cell,
        phase=phase,
        number=number,
        task=TaskRef(name=cell.task, options={"length": 6}),
        model=cell.model,
        params={"rate": 0.1 + 0.2, "kind": "ä\n\u2028", "clip": None, "bias": True},
        build={"bias": True},
        widths=(3, 4),
        parameters=100,
        optimisation=Optimisation(learning_rate=0.1),
        training=Training(updates=8, batch_size=2, evaluate_every=2),
        seeds=Seeds.of(0, number),
        rejections=("no width",),
    )


def make_point(update: int, *, gradient_norm: float = 1.0) -> Point:
    return Point(
        update=update,
        epoch=update / 3,
        seconds=0.1 * update,
        time=1e9 + update,
        learning_rate=1e-3,
        train_loss=1 / update,
        gradient_norm=gradient_norm,
        metrics={"score": 1 / 3},
    )


def make_result(outcome: Outcome = "complete", score: float | None = 0.25) -> TrialResult:
    return TrialResult(outcome=outcome, score=score, metrics={"test": {"score": math.inf}}, updates=8)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    write_atomically(tmp_path / MANIFEST, make_manifest().model_dump_json())
    return Ledger(tmp_path, make_manifest())


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """A full disk, as this process sees it: a write past `size` bytes of a file is cut short (EFBIG, setrlimit(2))."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores SIGXFSZ from its start
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_records_read_back_are_equal_and_in_order_of_dealing(ledger: Ledger) -> None:
    dealt = [
        make_trial(0, cell=CELLS[1]),
        make_trial(0),
        make_trial(1, cell=CELLS[1]),
        make_trial(0, "final"),
        make_trial(1),
    ]
    for trial in dealt:
        assert ledger.begin(trial) == 1
        ledger.report(trial.key, make_point(2))
        ledger.report(trial.key, make_point(4, gradient_norm=math.inf))
    outcomes: tuple[Outcome, ...] = ("complete", "diverged", "out-of-memory", "failed")
    for trial, outcome in zip(dealt, outcomes, strict=False):
        ledger.finish(trial.key, make_result(outcome, 0.25 if outcome == "complete" else None))

    again = Ledger(ledger.folder, make_manifest()).entries()

    assert [entry.trial for entry in again] == dealt
    assert again == ledger.entries()
    assert [entry.result.outcome if entry.result else None for entry in again] == [*outcomes, None]
    assert all(entry.points == (make_point(2), make_point(4, gradient_norm=math.inf)) for entry in again)
    assert read_study(ledger.folder).entries() == again


def test_a_nan_survives_the_journal(ledger: Ledger) -> None:
    trial = make_trial()
    ledger.begin(trial)
    ledger.report(trial.key, make_point(2, gradient_norm=math.nan))
    assert math.isnan(read_study(ledger.folder).entries()[0].points[0].gradient_norm)


def test_dealing_again_counts_attempts_and_keeps_the_curve(ledger: Ledger) -> None:
    trial = make_trial()
    ledger.begin(trial)
    ledger.report(trial.key, make_point(2))
    assert ledger.begin(trial) == 2
    assert Ledger(ledger.folder, make_manifest()).begin(trial) == 3
    (entry,) = read_study(ledger.folder).entries()
    assert (entry.attempt, entry.points) == (3, (make_point(2),))


def test_points_of_a_worker_that_went_back_are_written_once(ledger: Ledger) -> None:
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


def test_a_second_ending_is_refused_and_changes_nothing(ledger: Ledger) -> None:
    trial = make_trial()
    ledger.begin(trial)
    ledger.finish(trial.key, make_result())
    before = (ledger.folder / JOURNAL).read_bytes()
    for again in (ledger, Ledger(ledger.folder, make_manifest())):
        with pytest.raises(LedgerError, match="id/sum/ema/search/0: has ended already as complete"):
            again.finish(trial.key, make_result("failed", None))
    assert (ledger.folder / JOURNAL).read_bytes() == before
    ledger.begin(make_trial(1))  # the refusal was the caller's fault: the ledger can still be written


def test_a_trial_killed_between_its_two_last_records_has_not_ended(ledger: Ledger) -> None:
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
def test_a_torn_tail_is_cut_and_said(ledger: Ledger, tail: bytes) -> None:
    trial = make_trial()
    ledger.begin(trial)
    ledger.report(trial.key, make_point(2))
    before = ledger.entries()
    journal = ledger.folder / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + tail)

    said = repair(ledger.folder)

    assert said is not None
    assert f"{len(tail)} bytes" in said
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
def test_a_journal_without_a_whole_record_starts_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / JOURNAL).write_bytes(content)
    assert (repair(tmp_path) is None) == (content == b"")
    ledger = Ledger(tmp_path, make_manifest())
    assert ledger.entries() == ()
    ledger.begin(make_trial())
    assert len(Ledger(tmp_path, make_manifest()).entries()) == 1


def test_repair_of_a_folder_without_a_journal_does_nothing(tmp_path: Path) -> None:
    assert repair(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", [b"garbage\n", b"42\n", b"{}\n", b'{"op_code":99,"worker_id":"x"}\n'])
def test_damage_in_the_middle_is_one_line_naming_the_journal(ledger: Ledger, line: bytes) -> None:
    ledger.begin(make_trial())
    journal = ledger.folder / JOURNAL
    journal.write_bytes(line + journal.read_bytes())
    for read in (lambda: Ledger(ledger.folder, make_manifest()), lambda: read_study(ledger.folder)):
        with pytest.raises(LedgerError, match=r"ledger\.log: is not a readable journal .*--fresh") as caught:
            read()
        assert "\n" not in str(caught.value)


def test_reading_writes_nothing_and_ignores_a_torn_tail(ledger: Ledger) -> None:
    ledger.begin(make_trial())
    journal = ledger.folder / JOURNAL
    with journal.open("ab") as file:
        file.write(b'{"op_code"')
    before = {path.name: path.read_bytes() for path in ledger.folder.iterdir()}
    assert len(read_study(ledger.folder).entries()) == 1
    assert {path.name: path.read_bytes() for path in ledger.folder.iterdir()} == before


def test_a_study_without_trials_reads_as_empty(tmp_path: Path) -> None:
    write_atomically(tmp_path / MANIFEST, make_manifest().model_dump_json())
    snapshot = read_study(tmp_path)
    assert (snapshot.manifest, snapshot.entries()) == (make_manifest(), ())
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]


def test_a_folder_without_a_study_says_so(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="holds no study"):
        read_study(tmp_path)


@pytest.mark.parametrize("text", ["", "{", '{"schema_version": 2}', "[]"])
def test_an_unreadable_manifest_is_one_line_with_a_way_out(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(LedgerError, match=r"manifest\.json: cannot be read .*--fresh") as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_manifest_that_is_no_file_is_a_ledger_error(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(LedgerError, match=r"manifest\.json: cannot be read \(Is a directory\)"):
        read_manifest(tmp_path)


WRITER = """
import sys
from pathlib import Path
from harness.ledger.folder import read_manifest
from harness.ledger.ledger import Ledger
from harness.records import Point, Trial
folder, trial, point = Path(sys.argv[1]), Trial.model_validate_json(sys.argv[2]), Point.model_validate_json(sys.argv[3])
ledger = Ledger(folder, read_manifest(folder))
ledger.begin(trial)
for update in range(1, 201):
    ledger.report(trial.key, point.model_copy(update={"update": update}))
"""


def test_a_study_can_be_read_while_another_process_writes_it(tmp_path: Path) -> None:
    write_atomically(tmp_path / MANIFEST, make_manifest().model_dump_json())
    arguments = [str(tmp_path), make_trial().model_dump_json(), make_point(1).model_dump_json()]
    seen: list[int] = []
    with subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stderr=subprocess.PIPE) as writer:
        while writer.poll() is None:
            for entry in read_study(tmp_path).entries():
                updates = [point.update for point in entry.points]
                assert updates == list(range(1, len(updates) + 1))
                seen.append(len(updates))
            time.sleep(0.005)
        assert writer.returncode == 0, writer.communicate()[1]
    assert len(read_study(tmp_path).entries()[0].points) == 200
    assert seen == sorted(seen)
    assert len(set(seen)) > 3, "the study was never read while it was written"


def test_a_full_disk_is_one_line_and_what_was_written_stands(ledger: Ledger) -> None:
    trial = make_trial()
    ledger.begin(trial)
    ledger.report(trial.key, make_point(2))
    journal = ledger.folder / JOURNAL
    size = journal.stat().st_size
    with no_file_larger_than(size + 25), pytest.raises(LedgerError, match=r"cannot be written \(File too large\)") as e:
        ledger.report(trial.key, make_point(4))
    assert str(ledger.folder) in str(e.value)
    assert "\n" not in str(e.value)
    assert journal.stat().st_size == size + 25, "the write was not cut short: this test shows nothing"
    assert repair(ledger.folder) is not None
    (entry,) = Ledger(ledger.folder, make_manifest()).entries()
    assert (entry.points, entry.result) == ((make_point(2),), None)


def test_after_a_failed_write_nothing_is_written_behind_its_half_line(ledger: Ledger) -> None:
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


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"cannot be written \(No such file or directory\)"):
        Ledger(tmp_path / "gone", make_manifest())
    with pytest.raises(LedgerError, match=r"cannot be written \(No such file or directory\)"):
        write_atomically(tmp_path / "gone" / "file", "text")


def test_a_failed_replacement_leaves_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    with no_file_larger_than(10), pytest.raises(LedgerError, match="File too large"):
        write_atomically(path, "n" * 1000)
    assert path.read_text() == "old"


def test_each_line_of_the_journal_is_one_record(ledger: Ledger) -> None:
    trial = make_trial()
    ledger.begin(trial)
    ledger.report(trial.key, make_point(2))
    ledger.finish(trial.key, make_result())
    lines = (ledger.folder / JOURNAL).read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert all(isinstance(json.loads(line), dict) for line in lines)


def test_maximised_and_minimised_cells_lie_in_studies_of_their_direction(ledger: Ledger) -> None:
    for cell in CELLS:
        ledger.begin(make_trial(cell=cell))
    lines = [json.loads(line) for line in (ledger.folder / JOURNAL).read_text().splitlines()]
    directions = {line["study_name"]: line["directions"] for line in lines if "study_name" in line}
    assert directions == {"sum/ema/search": [1], "ragged/ema/search": [2]}  # optuna.study.StudyDirection
