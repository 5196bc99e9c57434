"""A ledger that was damaged between two runs of the command."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from harness.ledger.folder import JOURNAL, MANIFEST
from tests.faults.place import Place
from tests.ledger.test_checksums import cut_out, digit_changed, swapped, without_checksum

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.fault("a damaged ledger whose lines are readable")
def test_damaged_ledger_is_refused_by_every_command_and_nothing_is_trained(
    place: Place, landed: Callable[[], None]
) -> None:
    place.write(models='["toy-ema"]')
    code, _, err = place.run("run", "toys.toml", "--serial")
    assert code == 0, err
    expected = place.by_key()
    journal, manifest = place.folder / "runs/toys" / JOURNAL, place.folder / "runs/toys" / MANIFEST
    whole, described = journal.read_bytes(), manifest.read_text()
    lines = whole.splitlines(keepends=True)
    damages: dict[str, list[list[bytes] | None]] = {
        rf"{JOURNAL}: line 5 does not follow": [digit_changed(lines, 4), swapped(lines, 4), cut_out(lines, 4)],
        rf"{JOURNAL}: is missing, but {MANIFEST}": [None],
    }
    for message, contents in damages.items():
        for content in contents:
            journal.unlink() if content is None else journal.write_bytes(b"".join(content))
            landed()
            for command in (("run", "toys.toml", "--serial"), ("sync", "toys")):
                code, _, err = place.run(*command)
                assert code == 2, err
                assert re.fullmatch(rf"harness: \S+{message}.*--fresh\n", err), err
            assert (journal.read_bytes() if journal.exists() else None) == (content and b"".join(content))
    journal.write_bytes(whole)
    study = re.search(r'"study_id": ?"(\w+)"', described)
    assert study is not None
    manifest.write_text(described.replace(study[1], "0123456789ab"))
    landed()
    code, _, err = place.run("run", "toys.toml", "--serial")
    assert (code, err.count("\n")) == (2, 1)
    assert f"holds trials of study {study[1]}, but {MANIFEST} beside it is that of 0123456789ab" in err
    manifest.write_text(described)
    assert place.by_key() == expected


@pytest.mark.fault("a ledger of a version without checksums")
def test_ledger_without_checksums_is_continued_and_says_so_once(place: Place, landed: Callable[[], None]) -> None:
    place.write()
    expected = place.undisturbed()
    place.run("run", "toys.toml", "--serial", KILL_AT="20")
    journal = place.folder / "runs/toys" / JOURNAL
    lines = [without_checksum(line) for line in journal.read_bytes().splitlines(keepends=True)]
    journal.write_bytes(b"".join(lines))
    landed()
    code, _, err = place.run("run", "toys.toml", "--serial")
    assert code == 0, err
    assert err.count(f"{len(lines)} records of an older version carry no checksums") == 1
    assert place.by_key() == expected
    _, _, err = place.run("run", "toys.toml", "--serial")
    assert "checksums" not in err
