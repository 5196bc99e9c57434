"""Whether a slot of this machine stood idle while a trial could have used it, from the start and end times of a study.

    python tools/slots.py runs/STUDY [--cores 2]

Prints every trial with its class and times, then for each class the seconds in which a slot was free, trials of the
class were still to come, and nothing was started: beyond the hand-over between two trials that is a fault of dealing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from harness.ledger import Entry, read_study


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cores", type=float, default=2)
    arguments = parser.parse_args()
    ran = sorted((entry for entry in read_study(arguments.folder).entries() if entry.result), key=started)
    begin = started(ran[0])
    for entry in ran:
        print(
            f"{started(entry) - begin:7.1f} {ended(entry) - begin:7.1f}  {kind(entry):<16} "
            f"{entry.trial.cell} {entry.trial.phase} {entry.trial.number}"
        )
    for name in sorted({kind(entry) for entry in ran}):
        print(f"{name}: {sum(kind(entry) == name for entry in ran)} trials")
    gaps = idle(ran, arguments.cores)
    longest = max((end - start for start, end in gaps), default=0)
    span = ended(max(ran, key=ended)) - begin
    print(
        f"a core was free while trials were still to start for {sum(end - start for start, end in gaps):.1f} s of "
        f"{span:.1f} s, in {len(gaps)} gaps, the longest {longest:.2f} s"
    )
    return 0


def started(entry: Entry) -> float:
    assert entry.result is not None
    return entry.result.started


def ended(entry: Entry) -> float:
    assert entry.result is not None
    return entry.result.ended


def kind(entry: Entry) -> str:
    resources = entry.trial.resources
    return f"{resources.cpu:g} cpu" + (f" {resources.memory_gib:g} GiB" if resources.memory_gib else "")


def idle(ran: Sequence[Entry], cores: float) -> list[tuple[float, float]]:
    """Spans in which fewer cores were busy than there are, before the last start."""
    last = max(started(entry) for entry in ran)
    moments = sorted({moment for entry in ran for moment in (started(entry), ended(entry)) if moment <= last})
    spans: list[tuple[float, float]] = []
    for start, end in pairwise(moments):
        busy = sum(entry.trial.resources.cpu for entry in ran if started(entry) <= start and ended(entry) >= end)
        if busy < cores:
            spans.append((start, end))
    return spans


if __name__ == "__main__":
    sys.exit(main())
