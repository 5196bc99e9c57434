"""Find times in which cores of this machine were idle although trials were waiting, from the ledger of a study.

    python benchmarks/slots.py runs/STUDY [--cores 2]

Prints for every trial its resources and when it was scheduled, started on its worker and ended.  Then prints the time
in which the scheduled trials used fewer cores than available, and how long scheduled trials waited for their workers.
An idle core before the last trial was scheduled is a fault of the scheduler, unless no trial fitted or none was ready
(the final trials of a cell wait for its search).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from harness.ledger.folder import JOURNAL
from harness.ledger.journal import TrialEntry, read_study
from harness.records import Trial

HAND_OVER_SECONDS = 0.5
"""Usual time from a result to the next scheduled trial; shorter gaps are not listed."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cores", type=float, default=2)
    arguments = parser.parse_args()
    ran = sorted((entry for entry in read_study(arguments.folder).entries() if entry.result), key=started)
    scheduled = scheduled_times(arguments.folder)
    begin = min(scheduled.values())
    print("  sched started   ended")
    for entry in ran:
        times = (scheduled[entry.trial.key], started(entry), ended(entry))
        print(
            " ".join(f"{time - begin:7.1f}" for time in times),
            f" {kind(entry):<16} {entry.trial.cell} {entry.trial.phase} {entry.trial.number}",
        )
    for name in sorted({kind(entry) for entry in ran}):
        print(f"{name}: {sum(kind(entry) == name for entry in ran)} trials")
    gaps = idle(ran, scheduled, arguments.cores)
    span = ended(max(ran, key=ended)) - begin
    print(f"a core had no scheduled trial for {sum(end - start for start, end in gaps):.1f} s of {span:.1f} s:")
    for start, end in gaps:
        if end - start >= HAND_OVER_SECONDS:
            print(f"  {start - begin:7.1f} to {end - begin:7.1f}")
    waits = [started(entry) - scheduled[entry.trial.key] for entry in ran]
    late = sum(wait > 1 for wait in waits)
    print(
        f"from scheduled to started: median {sorted(waits)[len(waits) // 2]:.2f} s; "
        f"{late} of {len(waits)} waited over 1 s for a new worker, at most {max(waits):.1f} s"
    )
    return 0


def scheduled_times(folder: Path) -> dict[str, float]:
    """Return key → when the trial entered the ledger, in seconds since 1970."""
    times: dict[str, float] = {}
    for line in (folder / JOURNAL).read_text().splitlines():
        record = json.loads(line)
        if "trial" in record.get("user_attrs", {}):
            trial = Trial.model_validate(record["user_attrs"]["trial"])
            times[trial.key] = datetime.fromisoformat(record["datetime_start"]).timestamp()
    return times


def started(entry: TrialEntry) -> float:
    assert entry.result is not None
    return entry.result.started


def ended(entry: TrialEntry) -> float:
    assert entry.result is not None
    return entry.result.ended


def kind(entry: TrialEntry) -> str:
    """Return the resources of a trial in words."""
    resources = entry.trial.resources
    return f"{resources.cpu:g} cpu" + (f" {resources.memory_gib:g} GiB" if resources.memory_gib else "")


def idle(ran: Sequence[TrialEntry], scheduled: dict[str, float], cores: float) -> list[tuple[float, float]]:
    """Return the intervals, before the last trial was scheduled, in which running trials needed fewer than `cores`."""
    last = max(scheduled.values())
    times = [(scheduled[entry.trial.key], ended(entry), entry.trial.resources.cpu) for entry in ran]
    moments = sorted({moment for start, end, _ in times for moment in (start, end) if moment <= last})
    intervals: list[tuple[float, float]] = []
    for start, end in pairwise(moments):
        busy = sum(cpu for first, last_moment, cpu in times if first <= start and last_moment >= end)
        if busy < cores:
            intervals.append((start, end))
    return intervals


if __name__ == "__main__":
    sys.exit(main())
