"""Damage of the journal that leaves every line readable, and journals of versions without checksums."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from harness.errors import LedgerError
from harness.ledger.checksums import KEY, verified
from harness.ledger.folder import JOURNAL, MANIFEST, write_atomically
from harness.ledger.journal import read_storage, read_study
from harness.ledger.ledger import Ledger, repair
from tests.ledger.conftest import make_manifest, make_point, make_result, make_trial

Lines = list[bytes]


@pytest.fixture
def written(ledger: Ledger) -> Ledger:
    """A ledger of two trials with curves: 16 lines."""
    for number in (0, 1):
        trial = make_trial(number)
        ledger.begin(trial)
        for update in (2, 4, 6):
            ledger.report(trial.key, make_point(update))
        ledger.finish(trial.key, make_result(score=0.25 + number))
    return ledger


def lines_of(ledger: Ledger) -> Lines:
    return (ledger.folder / JOURNAL).read_bytes().splitlines(keepends=True)


def write(ledger: Ledger, lines: Lines) -> None:
    (ledger.folder / JOURNAL).write_bytes(b"".join(lines))


def without_checksum(line: bytes) -> bytes:
    """Return a line as versions without checksums wrote it."""
    record = json.loads(line)
    del record[KEY]
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def digit_changed(lines: Lines, index: int) -> Lines:
    digits = [match.start() for match in re.finditer(rb"\d", lines[index].partition(b'"worker_id"')[2])]
    start = len(lines[index].partition(b'"worker_id"')[0]) + len(b'"worker_id"') + digits[len(digits) // 2]
    digit = b"%d" % ((int(lines[index][start : start + 1]) + 1) % 10)
    return [*lines[:index], lines[index][:start] + digit + lines[index][start + 1 :], *lines[index + 1 :]]


def swapped(lines: Lines, index: int) -> Lines:
    return [*lines[:index], lines[index + 1], lines[index], *lines[index + 2 :]]


def cut_out(lines: Lines, index: int) -> Lines:
    return [*lines[:index], *lines[index + 2 :]]


def repeated(lines: Lines, index: int) -> Lines:
    return [*lines[: index + 1], *lines[index:]]


def joined(lines: Lines, index: int) -> Lines:
    return [*lines[:index], lines[index].rstrip(b"\n"), *lines[index + 1 :]]


@pytest.mark.parametrize("damage", [digit_changed, swapped, cut_out, joined])
@pytest.mark.parametrize("index", range(13))
def test_damage_is_named_with_file_and_line_and_nothing_is_read_or_written(
    written: Ledger, damage: Callable[[Lines, int], Lines], index: int
) -> None:
    write(written, damage(lines_of(written), index))
    before = (written.folder / JOURNAL).read_bytes()
    assert repair(written.folder) is None
    for read in (lambda: Ledger(written.folder, make_manifest()), lambda: read_study(written.folder)):
        with pytest.raises(LedgerError) as caught:
            read()
        path = re.escape(str(written.folder / JOURNAL))
        expected = rf"{path}: line {index + 1} does not follow .*; restore the file from a copy, or use --fresh"
        assert re.fullmatch(expected, str(caught.value))
    assert (written.folder / JOURNAL).read_bytes() == before


def test_repeated_line_is_named(written: Ledger) -> None:
    write(written, repeated(lines_of(written), 3))
    with pytest.raises(LedgerError, match=r"ledger\.log: line 5 does not follow"):
        read_study(written.folder)


def test_changed_digit_of_the_last_line_is_named(written: Ledger) -> None:
    lines = lines_of(written)
    write(written, digit_changed(lines, len(lines) - 1))
    with pytest.raises(LedgerError, match=rf"line {len(lines)} does not follow"):
        Ledger(written.folder, make_manifest())


def test_missing_journal_beside_a_manifest_is_an_error(written: Ledger) -> None:
    (written.folder / JOURNAL).unlink()
    with pytest.raises(LedgerError, match=r"ledger\.log: is missing, but manifest\.json .*--fresh$"):
        read_study(written.folder)


def test_manifest_of_another_study_is_an_error(written: Ledger) -> None:
    other = make_manifest().model_copy(update={"study_id": "other"})
    write_atomically(written.folder / MANIFEST, other.model_dump_json())
    for read in (lambda: Ledger(written.folder, other), lambda: read_study(written.folder)):
        with pytest.raises(LedgerError, match=r"ledger\.log: holds trials of study id, but .* of other;"):
            read()


def test_journal_without_checksums_is_continued_and_protected_from_then_on(written: Ledger) -> None:
    entries = written.entries()
    lines = [without_checksum(line) for line in lines_of(written)]
    write(written, lines)
    old = Ledger(written.folder, make_manifest())
    assert old.entries() == entries
    assert old.unprotected == len(lines)
    old.begin(make_trial(2))
    again = Ledger(written.folder, make_manifest())
    assert (again.unprotected, len(again.entries())) == (0, 3)
    write(written, digit_changed(lines_of(written), 2))
    with pytest.raises(LedgerError, match=rf"line {len(lines) + 1} does not follow"):
        Ledger(written.folder, make_manifest())


def test_version_without_checksums_reads_and_continues_the_journal(written: Ledger) -> None:
    path = str(written.folder / JOURNAL)
    storage = JournalStorage(JournalFileBackend(path))
    entries, ids, _ = read_storage(storage)
    assert tuple(entries.values()) == written.entries()
    storage.set_study_user_attr(0, "older", 1)
    assert len(ids) == 2
    again = Ledger(written.folder, make_manifest())
    assert (again.entries(), again.unprotected) == (written.entries(), 1)
    again.begin(make_trial(2))
    assert Ledger(written.folder, make_manifest()).unprotected == 0


WRITER = """
import sys
from pathlib import Path
from harness.ledger.folder import read_manifest
from harness.ledger.ledger import Ledger, repair
from harness.records import Point, Trial
folder, trial, point = Path(sys.argv[1]), Trial.model_validate_json(sys.argv[2]), Point.model_validate_json(sys.argv[3])
repair(folder)
ledger = Ledger(folder, read_manifest(folder))
ledger.begin(trial)
print("writes", flush=True)
first = len(ledger.entry(trial.key).points)
for update in range(first + 1, first + 100_000):
    ledger.report(trial.key, point.model_copy(update={"update": update}))
"""


@pytest.mark.slow
def test_journal_of_killed_writers_is_whole_after_repair(ledger: Ledger) -> None:
    arguments = [str(ledger.folder), make_trial().model_dump_json(), make_point(1).model_dump_json()]
    points = 0
    for turn in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writes\n"
        time.sleep(0.2 + 0.05 * turn)
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        (ledger.folder / f"{JOURNAL}.lock").unlink(missing_ok=True)
        repair(ledger.folder)
        (entry,) = Ledger(ledger.folder, make_manifest()).entries()
        assert len(entry.points) > points
        points = len(entry.points)
    assert verified(ledger.folder / JOURNAL).unprotected == 0


def test_time_of_a_record_does_not_grow_with_the_journal(ledger: Ledger) -> None:
    trial = make_trial()
    ledger.begin(trial)
    chain = verified(ledger.folder / JOURNAL)
    record = {"op_code": 8, "worker_id": "w", "user_attr": {"point/1": make_point(1).model_dump(mode="json")}}

    def seconds(count: int) -> float:
        begun = time.perf_counter()
        for _ in range(count):
            chain.signed(record)
        return (time.perf_counter() - begun) / count

    first = seconds(2000)
    seconds(20_000)
    assert seconds(2000) < 3 * first
    assert first < 1e-3
