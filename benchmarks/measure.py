"""Measure ratios of times on a shared machine: sides take turns in one process, in CPU time, on one thread."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LEAST_SECONDS = 0.1
"""Shortest measurement; a side that takes less time is repeated within a round."""
LEAST_ROUNDS, MOST_ROUNDS = 5, 41

Clock = Callable[[], float]
CPU_TIME = "CPU time"
WALL_CLOCK = "wall clock, device synchronised at both ends"
Json = dict[str, Any]  # a stored row, as `Row` with its environment


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least two values."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def __str__(self) -> str:
        return f"{self.median:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True)
class Rounds:
    """Seconds of each side, round by round."""

    seconds: Mapping[str, Sequence[float]]

    def __len__(self) -> int:
        return len(next(iter(self.seconds.values())))

    def of(self, side: str) -> Spread:
        return Spread.of(self.seconds[side])

    def ratio(self, slow: str, fast: str) -> Spread:
        """Return the spread over rounds of the time of `slow` divided by the time of `fast`."""
        return Spread.of([a / b for a, b in zip(self.seconds[slow], self.seconds[fast], strict=True)])


def wall_clock(device: str) -> Clock:
    """Return a clock that reads the wall time once the device has done its queued work; device: "cpu" or "cuda"."""
    if device == "cpu":
        return time.perf_counter
    import torch

    def read() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return read


def clock_of(device: str) -> tuple[str, Clock]:
    """Return the clock that suits a device, with its name: CPU time on a shared CPU, else the wall clock."""
    return (CPU_TIME, time.process_time) if device == "cpu" else (WALL_CLOCK, wall_clock(device))


def take_turns(
    sides: Mapping[str, Callable[[], object]],
    *,
    seconds: float,
    clock: Clock = time.process_time,
    warm_ups: int = 0,
) -> Rounds:
    """Time every side once per round, in an order that rotates from round to round, for about `seconds` of `clock`.

    A first round is not counted; it decides how often a short side is repeated within a round.  Before it, every side
    is called `warm_ups` times.
    """
    for side in sides.values():
        for _ in range(warm_ups):
            side()
    first = {name: _timed(side, 1, clock) for name, side in sides.items()}
    repeats = {name: max(1, round(LEAST_SECONDS / max(spent, 1e-6))) for name, spent in first.items()}
    names = list(sides)
    measured: dict[str, list[float]] = {name: [] for name in names}
    begun = clock()
    for number in range(MOST_ROUNDS):
        if number >= LEAST_ROUNDS and clock() - begun > seconds:
            break
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            measured[name].append(_timed(sides[name], repeats[name], clock))
    return Rounds(measured)


def _timed(side: Callable[[], object], repeats: int, clock: Clock) -> float:
    begun = clock()
    for _ in range(repeats):
        side()
    return (clock() - begun) / repeats


@dataclass(frozen=True)
class Row:
    """The result of a benchmark for one work."""

    work: str
    value: Spread
    """A ratio of times, or seconds."""
    bound: str
    """Required value, and target value in brackets: `>= 8 (11)`."""
    holds: bool
    seconds: Mapping[str, float]
    """Median of each side."""
    rounds: int
    parts: Mapping[str, float] = field(default_factory=dict)
    """Part → factor by which a step is slower with the released version of that part."""
    note: str = ""


def at_least(value: float, must: float, aim: float) -> tuple[str, bool]:
    return f">= {must:g} ({aim:g})", value >= must


def at_most(value: float, must: float, aim: float) -> tuple[str, bool]:
    return f"<= {must:g} ({aim:g})", value <= must


def environment(*packages: str) -> dict[str, str]:
    """Return machine, versions and commit."""
    facts = {"machine": f"{_processor()}, {_cores()} cores, {platform.system()}", "python": platform.python_version()}
    facts |= {name: version(name) for name in packages}
    return facts | {"commit": _commit(), "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _cores() -> int:
    import psutil

    return len(psutil.Process().cpu_affinity())


def _commit() -> str:
    """Return the commit of this checkout, with a `+` if tracked files differ from it."""

    def git(*arguments: str) -> str:
        command = ("git", "-C", str(ROOT), *arguments)
        try:
            return subprocess.run(command, capture_output=True, text=True, check=False).stdout
        except OSError:  # git is not installed
            return ""

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":!benchmarks/results").strip()
    return git("rev-parse", "--short=12", "HEAD").strip() + ("+" if changed else "")


class Table:
    """Rows of one command, each with the environment of its measurement.

    In a folder, the table also keeps earlier rows; a new row replaces the older one of the same work.
    """

    def __init__(self, title: str, facts: Mapping[str, str], folder: Path | None) -> None:
        self._title = title
        self._facts = dict(facts)
        self._folder = folder
        self._fresh: list[Json] = []

    def add(self, row: Row) -> None:
        print(f"{row.work}: {row.value}", file=sys.stderr, flush=True)
        self._fresh.append({**asdict(row), "environment": self._facts})
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            rows = self._merged(self._folder / f"{self._title}.json")
            (self._folder / f"{self._title}.json").write_text(json.dumps(rows, indent=1) + "\n")
            (self._folder / f"{self._title}.md").write_text(markdown(rows))

    def show(self, *, as_json: bool) -> None:
        sys.stdout.write(json.dumps(self._fresh, indent=1) + "\n" if as_json else markdown(self._fresh))

    def _merged(self, path: Path) -> list[Json]:
        before: list[Json] = json.loads(path.read_text()) if path.exists() else []
        rows = {row["work"]: row for row in [*before, *self._fresh]}
        return list(rows.values())


def markdown(rows: Sequence[Json]) -> str:
    """Return a line for each environment, then a table whose rows name their environment by its number."""
    environments = list(dict.fromkeys(_line(row["environment"]) for row in rows))
    lines = [f"{number}. {text}" for number, text in enumerate(environments, start=1)]
    lines += [
        "",
        "| work | median [quartiles] | must (aim) | holds | seconds | rounds | without, as a factor | note | in |",
        "| :-- | --: | --: | :-- | :-- | --: | :-- | :-- | --: |",
    ]
    for row in rows:
        seconds = ", ".join(f"{side} {spent:.4g}" for side, spent in row["seconds"].items())
        parts = ", ".join(f"{part} {factor:.2f}" for part, factor in row["parts"].items())
        cells = [row["work"], str(Spread(**row["value"])), row["bound"], "yes" if row["holds"] else "**no**"]
        cells += [seconds, str(row["rounds"]), parts, row["note"]]
        cells.append(str(environments.index(_line(row["environment"])) + 1))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _line(environment: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in environment.items())
