"""Interrupt and resume a study, and compare the points of its search with those of an undisturbed study.

    python -m tests.faults.interrupted [random tpe quasi-random]

For each sampler two studies of two small cells run one trial at a time.  One is undisturbed.  The other is interrupted
three times by Ctrl-C (SIGINT to the command) and resumed by running the same command again.
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
    """Print the points of both studies.  Return whether they are equal and no point repeats."""
    with tempfile.TemporaryDirectory() as folder:
        undisturbed, _ = run(Path(folder) / "undisturbed", sampler, interruptions=0)
        interrupted, moments = run(Path(folder) / "interrupted", sampler, interruptions=INTERRUPTIONS)
    print(f"\n{sampler}: interrupted at {', '.join(moments)} of {2 * TRIALS} search trials ended")
    for expected, entry in zip(undisturbed, interrupted, strict=True):
        sign = "=" if point(expected) == point(entry) else "DIFFERS"
        label = f"{expected.trial.cell.model:>4} {expected.trial.number:>2}"
        print(f"{label}  {point(expected)}  {sign}  {point(entry)}")
    same = [point(entry) for entry in undisturbed] == [point(entry) for entry in interrupted]
    distinct = len({(entry.trial.cell.model, point(entry)) for entry in interrupted}) == len(interrupted)
    print(f"{sampler}: {len(interrupted)} points, equal: {same}, none repeats: {distinct}")
    return same and distinct


def run(folder: Path, sampler: str, *, interruptions: int) -> tuple[list[TrialEntry], list[str]]:
    """Return the search trials by cell and number, and how many trials had ended at each interruption."""
    folder.mkdir(parents=True)
    (folder / "points.toml").write_text(STUDY.format(trials=TRIALS, sampler=sampler))
    moments: list[str] = []
    for number in range(interruptions):
        process = start(folder)
        wait_for(folder, (number + 1) * 2 * TRIALS // (interruptions + 1), process)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        moments.append(str(ended(folder)))
    assert start(folder).wait() == 0
    entries = [entry for entry in read_study(folder / "runs/points").entries() if entry.trial.phase == "search"]
    return sorted(entries, key=lambda entry: (str(entry.trial.cell), entry.trial.number)), moments


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from harness.cli.main import main; main()", "run", "points.toml", "--serial"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(folder: Path, trials: int, process: subprocess.Popen[bytes]) -> None:
    while ended(folder) < trials and process.poll() is None:
        time.sleep(0.2)


def ended(folder: Path) -> int:
    """Return how many trials have ended."""
    path = folder / "runs/points"
    if not (path / "manifest.json").exists():
        return 0
    return sum(entry.result is not None for entry in read_study(path).entries())


def point(entry: TrialEntry) -> str:
    """Return parameters, widths and score of a trial in one line."""
    params = " ".join(
        f"{name[:6]}={value:.4g}" if isinstance(value, float) else f"{name[:6]}={value}"
        for name, value in sorted(entry.trial.params.items())
    )
    score = entry.result.score if entry.result else None
    return f"{params} {list(entry.trial.widths)} -> {score:.7g}" if score is not None else params


if __name__ == "__main__":
    sys.exit(main())
