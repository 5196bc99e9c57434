from __future__ import annotations

import re
import signal
from collections.abc import Callable

import pytest

from harness.ledger.folder import JOURNAL
from tests.faults.place import SLOW_TOYS, Place, ended, kill, kill_driver, mount_of, resize, trains, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

IN_TOYS = r" in a trial of seqharness-toys 0\.3"
FAULTS = {
    "nan": ("diverged", r"loss nan at update \d+"),
    "memory": ("out-of-memory", r"MemoryError: a toy that was told to run out of memory \(\w+\.py:\d+\)"),
    "raise": ("failed", r"ValueError: a toy that was told to raise \(\w+\.py:\d+\)"),
    "system-exit": ("failed", r"seqharness-toys 0\.3 raised SystemExit: 3 \(seqharness_toys\.py:\d+\)"),
    "keyboard-interrupt": ("failed", r"seqharness-toys 0\.3 raised KeyboardInterrupt: a toy .* \(seqharness_toys.*\)"),
    "exit": ("failed", r"seqharness-toys 0\.3 raised SystemExit: os\._exit\(9\) \(seqharness_toys\.py:\d+\)"),
    "recursion": ("failed", r"seqharness-toys 0\.3 raised RecursionError: maximum .* \(seqharness_toys.*\)"),
    "hang": ("failed", rf"worker failed 2 times: no progress for 30 s \(seqharness_toys\.py:\d+ in commit\){IN_TOYS}"),
    "hang-in-c": (
        "failed",
        rf"worker failed 2 times: no progress for 30 s \(seqharness_toys\.py:\d+ in commit\){IN_TOYS}",
    ),
    "segfault": ("failed", rf"worker failed 2 times: Segmentation fault \(__init__\.py:\d+ in string_at\){IN_TOYS}"),
}
TRAINS = '{ name = "toy-ema", as = "trains" }'


@pytest.mark.fault("a trial that diverges, fills memory, raises, hangs (in C too), crashes")
def test_each_fault_has_its_outcome_and_spends_budget_and_the_others_go_on(
    place: Place, landed: Callable[[], None]
) -> None:
    models = [f'{{ name = "toy-ema", as = "{fault}", space = {{ fault = "{fault}" }} }}' for fault in FAULTS]
    place.write(models=f"[{', '.join([*models, TRAINS])}]", trials=1, repetitions=1, hang_seconds=30)
    code, out, err = place.run("run", "toys.toml")
    assert code == 1
    results = {entry.trial.cell.model: entry.result for entry in place.entries() if entry.trial.phase == "search"}
    for fault, (outcome, reason) in FAULTS.items():
        result = results[fault]
        assert result is not None
        landed()
        assert (result.outcome, result.score) == (outcome, None), result.reason
        assert re.fullmatch(reason, result.reason), result.reason
        assert f"FAILED toy-sum/{fault}: no search trial completed: {result.reason}" in err
        assert err.count("seqharness-toys 0.3") >= len(FAULTS)
        (row,) = [line for line in out.splitlines() if line.startswith("|") and f" {fault} " in line][:1]
        assert "FAILED" in row
    finals = [entry for entry in place.entries() if entry.trial.phase == "final"]
    assert [(entry.trial.cell.model, entry.result.outcome) for entry in finals if entry.result] == [
        ("trains", "complete")
    ]
    attempts = {entry.trial.cell.model: entry.attempt for entry in place.entries()}
    assert attempts == {
        **dict.fromkeys(
            ["nan", "memory", "raise", "system-exit", "keyboard-interrupt", "exit", "recursion", "trains"], 1
        ),
        **dict.fromkeys(["hang", "hang-in-c", "segfault"], 2),
    }
    code, _, _ = place.run("run", "toys.toml")
    assert code == 1
    assert {entry.trial.cell.model: entry.attempt for entry in place.entries()} == attempts, (
        "spent budget was spent again"
    )


@pytest.mark.fault("a trial that crashes, in one process")
def test_trial_that_ends_the_process_of_a_serial_run_twice_is_counted_by_the_next_run(
    place: Place, landed: Callable[[], None]
) -> None:
    crashes = '{ name = "toy-ema", as = "segfault", space = { fault = "segfault" } }'
    place.write(models=f"[{crashes}, {TRAINS}]", trials=1, repetitions=1)
    codes = [place.run("run", "toys.toml", "--serial")[0] for _ in range(3)]
    landed()
    assert codes == [-signal.SIGSEGV, -signal.SIGSEGV, 1]
    of_crashes = [entry for entry in place.entries() if entry.trial.cell.model == "segfault"]
    reason = rf"Segmentation fault \(__init__\.py:\d+ in string_at\){IN_TOYS} ended the process"
    (crashed,) = of_crashes
    assert crashed.result is not None
    assert crashed.result.outcome == "failed"
    assert re.fullmatch(reason, crashed.result.reason), crashed.result.reason
    others = [entry.result for entry in place.entries() if entry.trial.cell.model == "trains"]
    assert [result and result.outcome for result in others] == ["complete"] * 2


@pytest.mark.fault("kill -9 of a worker, once and repeatedly")
def test_trial_of_a_killed_worker_resumes_from_its_checkpoint_with_the_undisturbed_result(
    place: Place, landed: Callable[[], None]
) -> None:
    place.write(models='["toy-ema"]', trials=1, repetitions=1, updates=1200, evaluations=60)
    expected = place.undisturbed()
    process = place.start("run", "toys.toml", **SLOW_TOYS)
    for kills in range(3):
        wait_until(lambda before=8 * kills: any(trains(entry, before) for entry in place.entries()), process)  # type: ignore[misc]
        killed = [kill(worker) for worker in place.workers(process)]
        assert killed
        landed()
    code, _, err = ended(process)
    assert code == 0, err
    assert place.by_key() == expected
    assert max(entry.attempt for entry in place.entries()) > 1
    assert "worker failed" in err
    assert "retrying the trial" in err


@pytest.mark.fault("corrupt checkpoint")
def test_last_good_checkpoint_is_used_and_the_damaged_one_is_reported(place: Place, landed: Callable[[], None]) -> None:
    place.write(models='["toy-ema"]', trials=1, repetitions=1, updates=1200, evaluations=60)
    expected = place.undisturbed()
    for attempt in (1, 2):
        process = place.start("run", "toys.toml", "--serial", **SLOW_TOYS)
        file = f"attempt-{attempt:04d}.pt"
        wait_until(lambda file=file: list((place.folder / "runs").rglob(file)), process)  # type: ignore[misc]
        kill_driver(process)
    (damaged,) = (place.folder / "runs").rglob("attempt-0002.pt")
    damaged.write_bytes(damaged.read_bytes()[:-7])
    landed()
    code, _, err = place.run("run", "toys.toml", "--serial")
    assert code == 0, err
    assert "attempt-0002.pt: is damaged (its digest differs)" in err
    assert place.by_key() == expected


@pytest.mark.fault("corrupt journal tail (torn write)")
@pytest.mark.parametrize("cut", [1, 7, 300])
def test_torn_journal_is_repaired_and_the_loss_is_reported(place: Place, landed: Callable[[], None], cut: int) -> None:
    place.write()
    expected = place.undisturbed()
    place.run("run", "toys.toml", "--serial", KILL_AT="20")
    journal = place.folder / "runs/toys" / JOURNAL
    content = journal.read_bytes()
    journal.write_bytes(content[:-cut])
    landed()
    code, _, err = place.run("run", "toys.toml", "--serial")
    assert code == 0, err
    assert re.search(r"dropped an incomplete last record of \d+ bytes; retrying its trial", err)
    assert place.by_key() == expected


@pytest.mark.fault("disk full at a checkpoint")
def test_full_disk_at_a_checkpoint_is_no_outcome_and_the_study_resumes(
    place: Place, landed: Callable[[], None]
) -> None:
    place.write(models='["toy-ema"]', trials=1, repetitions=1, updates=1200, evaluations=60)
    expected = place.undisturbed()
    small = place.folder / "small"
    unmount = mount_of("60k", small)
    try:
        (small / "filling").write_bytes(b"x" * 30_000)
        code, _, err = place.run("run", "toys.toml", "--runs", "small")
        landed()
        assert code == 2, err
        reason = r"cannot be written \(No space left on device\); "
        advice = "(make space and run again|(free disk space|fix that), then run the same command again to resume)"
        assert re.search(reason + advice, err), err
        assert all(entry.result is None for entry in place.entries(runs="small"))
        (small / "filling").unlink()
        resize(small, "10m")
        code, _, err = place.run("run", "toys.toml", "--runs", "small")
        assert code == 0, err
        assert place.by_key(runs="small") == expected
    finally:
        unmount()


@pytest.mark.fault("disk full at the journal")
def test_full_disk_at_the_journal_ends_the_run_with_one_line_and_the_study_resumes(
    place: Place, landed: Callable[[], None]
) -> None:
    place.write(trials=9, checkpoint_seconds=600)  # the journal outgrows the disk before there are weights
    expected = place.undisturbed()
    small = place.folder / "small"
    unmount = mount_of("32k", small)
    try:
        code, _, err = place.run("run", "toys.toml", "--runs", "small", "--serial")
        landed()
        assert code == 2, err
        advice = "fix that, then run the same command again to resume"
        assert f"the ledger cannot be written (No space left on device); {advice}" in err
        assert [text for text in err.splitlines() if "note:" not in text and "[" not in text][-1].startswith(
            "harness: "
        )
        before = {entry.trial.key: entry.result for entry in place.entries(runs="small") if entry.result}
        resize(small, "10m")
        code, _, err = place.run("run", "toys.toml", "--runs", "small", "--serial")
        assert code == 0, err
        assert place.by_key(runs="small") == expected
        after = {entry.trial.key: entry.result for entry in place.entries(runs="small")}
        assert {key: after[key] for key in before} == before
    finally:
        unmount()
