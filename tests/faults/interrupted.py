"""Interrupt a study and continue it, and set the points of its search beside those of an undisturbed one.

    python -m tests.faults.interrupted [random tpe quasi-random]

For each sampler two studies of one small cell pair run one trial at a time: one undisturbed, one interrupted three
times by Ctrl-C (SIGINT to the command) and continued by the same command.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.ledger.journal import TrialEntry, read_study

STUDY = """
name = "points"
models = ["tcn", "gru"]

[[tasks]]
name = "adding"
length = 40
sequences = 2000
parameters = 3000

[budget]
trials = {trials}
repetitions = 1

[training]
updates = 60
batch_size = 32
evaluations = 6

[search]
sampler = "{sampler}"
"""
TRIALS = 14
"""More than TPE's ten random start-up trials."""
INTERRUPTIONS = 3


def main() -> int:
    samplers = sys.argv[1:] or ["random", "tpe", "quasi-random"]
    equal = [compare(sampler) for sampler in samplers]
    return int(not all(equal))


def compare(sampler: str) -> bool:
    """Prints both studies' points; whether they are equal and all different from one another."""
    with tempfile.TemporaryDirectory() as folder:
        undisturbed, _ = run(Path(folder) / "undisturbed", sampler, interruptions=0)
        interrupted, strikes = run(Path(folder) / "interrupted", sampler, interruptions=INTERRUPTIONS)
    print(f"\n{sampler}: interrupted at {', '.join(strikes)} of {2 * TRIALS} search trials ended")
    for one, other in zip(undisturbed, interrupted, strict=True):
        mark = "=" if point(one) == point(other) else "DIFFERS"
        print(f"{one.trial.cell.model:>4} {one.trial.number:>2}  {point(one)}  {mark}  {point(other)}")
    same = [point(entry) for entry in undisturbed] == [point(entry) for entry in interrupted]
    distinct = len({(entry.trial.cell.model, point(entry)) for entry in interrupted}) == len(interrupted)
    print(f"{sampler}: {len(interrupted)} points, equal: {same}, none repeats: {distinct}")
    return same and distinct


def run(folder: Path, sampler: str, *, interruptions: int) -> tuple[list[TrialEntry], list[str]]:
    """The search trials in the order of cell and number, and how many had ended at each interruption."""
    folder.mkdir(parents=True)
    (folder / "points.toml").write_text(STUDY.format(trials=TRIALS, sampler=sampler))
    strikes: list[str] = []
    for strike in range(interruptions):
        process = start(folder)
        wait_for(folder, (strike + 1) * 2 * TRIALS // (interruptions + 1), process)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        strikes.append(str(ended(folder)))
    assert start(folder).wait() == 0
    entries = [entry for entry in read_study(folder / "runs/points").entries() if entry.trial.phase == "search"]
    return sorted(entries, key=lambda entry: (str(entry.trial.cell), entry.trial.number)), strikes


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from harness.cli.main import main; main()", "run", "points.toml", "--serial"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(folder: Path, trials: int, process: subprocess.Popen[bytes]) -> None:
    while ended(folder) < trials and process.poll() is None:
        time.sleep(0.2)


def ended(folder: Path) -> int:
    path = folder / "runs/points"
    if not (path / "manifest.json").exists():
        return 0
    return sum(entry.result is not None for entry in read_study(path).entries())


def point(entry: TrialEntry) -> str:
    params = " ".join(
        f"{name[:6]}={value:.4g}" if isinstance(value, float) else f"{name[:6]}={value}"
        for name, value in sorted(entry.trial.params.items())
    )
    score = entry.result.score if entry.result else None
    return f"{params} {list(entry.trial.widths)} -> {score:.7g}" if score is not None else params


if __name__ == "__main__":
    sys.exit(main())
