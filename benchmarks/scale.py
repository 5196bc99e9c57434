"""Measure what a driver costs as a study grows: the real scheduler, ledger and tracker with simulated workers.

    python benchmarks/scale.py [PART ...] [--trials 100 1000 10000] [--slots 16 1000] [--save benchmarks/results]

study: a whole study per line, with simulated workers.  The median trial takes 60 s; 2 % are ten times as long, 2 % of
the attempts lose their worker and 2 % of the trials diverge.  Real time of the driver moves the simulated clock.
ask: time of one `ask` with so many trials before it, per sampler.  fits: time of one question whether a trial fits.
tracker: a whole study whose ledger is sent to MLflow, in a SQLite file and in a PostgreSQL server.

Each line runs in a process of its own.  ask, fits and cpu are CPU time of the
driver's process; the others are wall time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from harness.execution.controller import StudyController
from harness.execution.placement import Occupancy
from harness.execution.runner import Runner
from harness.execution.trial_source import TrialSource
from harness.ledger.folder import JOURNAL
from harness.ledger.journal import TrialEntry, read_study
from harness.ledger.ledger import Ledger
from harness.plugin.loader import Loaded, load_plugins
from harness.records import Resources
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.study.file import parse_study
from harness.study.plan import Plan, make_plan
from measure import environment
from scale_stores import STORES
from scale_workers import MEDIAN_SECONDS, SimulatedWorkers, nodes_for, result_of

if TYPE_CHECKING:
    from harness.tracking.sync import Tracker

Json = dict[str, Any]  # a line of a table
REPETITIONS = 3
ASKS = 20
"""Questions per line of `ask` and `fits`; the median is printed."""
SAMPLERS = {"random": 10_000, "quasi-random": 10_000, "tpe": 10_000, "gp": 100}
"""Sampler → largest history that it is asked with; the cost of gp grows with its cube."""
CONSTANT = ("random", "quasi-random")
"""Samplers whose own cost does not grow; whole studies use them."""


def plan_of(loaded: Loaded, trials: int, sampler: str) -> Plan:
    """Return the plan of a study with two cells and about this many trials in all."""
    models = [{"name": name, "space": {"layers": 1}} for name in ("gru", "lstm")]
    study = {
        "name": "scale",
        "models": models,
        "tasks": [{"name": "adding", "parameters": 5000}],
        "budget": {"trials": trials // 2 - REPETITIONS, "repetitions": REPETITIONS},
        "search": {"sampler": sampler},
        "training": {"updates": 1000, "evaluations": 5},
        "resources": {"gpu": 1.0},
    }
    return make_plan(parse_study(study, source="scale.py"), loaded.registry)


def study(trials: int, slots: int, sampler: str = "random", store: str | None = None) -> Json:
    """Run a whole study; store: of `STORES`, to which its ledger is sent."""
    if store is None:
        return _study(trials, slots, sampler, None, lambda: 0)
    from harness.tracking.client import prepare_store

    with STORES[store]() as place:
        prepare_store(place.uri, "scale")
        return {"store": store, **_study(trials, slots, sampler, place.uri, place.size)}


def _study(trials: int, slots: int, sampler: str, uri: str | None, store_size: Callable[[], int]) -> Json:
    loaded = load_plugins()
    with tempfile.TemporaryDirectory() as name:
        runner = Runner(plan_of(loaded, trials, sampler), loaded, Path(name))
        runner.check()
        workers: list[SimulatedWorkers] = []
        memory, cpu = _resident(), time.process_time()

        def execute(source: TrialSource) -> None:
            controller = cast(StudyController, source)
            tracker = _tracker_of(controller.ledger, uri)
            workers.append(SimulatedWorkers(slots, sync=None if tracker is None else tracker.sync))
            if tracker is not None:
                tracker.clock = workers[0].clock
            workers[0].run(controller)

        runner.run(execute)
        cpu, memory = time.process_time() - cpu, _resident() - memory
        resume, resume_cpu = _timed(lambda: Runner(runner.plan, loaded, Path(name)).run(lambda _: None))
        line = {"trials": trials, "slots": slots, "sampler": sampler, **_driver_costs(workers[0], trials)}
        journal = (runner.folder / JOURNAL).stat().st_size
        if uri is not None:
            return line | {"store (MiB)": store_size() / 2**20} | _catch_up(runner, trials, Path(name))
        costs = {"cpu (ms/trial)": 1000 * cpu / trials, "memory growth (MiB)": memory / 2**20}
        return line | costs | {"journal (MiB)": journal / 2**20, "resume (s)": resume, "resume cpu (s)": resume_cpu}


def _catch_up(runner: Runner, trials: int, folder: Path) -> Json:
    """Measure the time to send a finished study to an empty SQLite file, as `harness sync` does."""
    from harness.tracking.client import prepare_store
    from harness.tracking.sync import Tracker

    uri = f"sqlite:///{folder}/catch-up.db"
    prepare_store(uri, "scale")
    wall, cpu = _timed(Tracker(read_study(runner.folder), uri).sync)
    return {"catch-up (ms/trial)": 1000 * wall / trials, "catch-up cpu (ms/trial)": 1000 * cpu / trials}


def _timed(function: Callable[[], object]) -> tuple[float, float]:
    """Return wall time and CPU time of a call, in seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def _tracker_of(ledger: Ledger, uri: str | None) -> Tracker | None:
    if uri is None:
        return None
    from harness.tracking.sync import Tracker

    return Tracker(ledger, uri)


def _driver_costs(workers: SimulatedWorkers, trials: int) -> Json:
    """Return milliseconds per trial by phase, the share of used slot time, and how many slots one driver serves."""
    spent = workers.phases.seconds
    per_trial = {name: 1000 * spent[name] / trials for name in ("driver", "fits", "ledger", "tracker")}
    search = per_trial["driver"] - per_trial["fits"] - per_trial["ledger"]
    line: Json = {"driver (ms/trial)": per_trial["driver"], "scheduler (ms/trial)": search}
    line |= {f"{name} (ms/trial)": per_trial[name] for name in ("fits", "ledger")}
    if workers.phases.calls["tracker"]:
        line |= {"tracker (ms/trial)": per_trial["tracker"], "syncs": workers.phases.calls["tracker"]}
        line["tracker cpu (ms/trial)"] = 1000 * spent["tracker cpu"] / trials
    line["slots used"] = workers.utilisation() if trials > workers.slots else None
    line["slots that one driver serves"] = round(MEDIAN_SECONDS / (per_trial["driver"] / 1000))
    return line


def ask(sampler: str, told: int) -> Json:
    """Measure the next search trial of a cell that has `told` complete ones."""
    plan = plan_of(load_plugins(), 2 * (told + ASKS + REPETITIONS + 1), sampler).cells[0]
    history = Proposer(plan_of(load_plugins(), 100, "random").cells[0], seed=0)
    drawn = list(history.first(told + 1))
    state = CellState(Proposer(plan, seed=0), study_id="scale")
    template = state.search_trial(0)
    for number, proposal in enumerate(drawn[:-1]):
        optimisation = plan.space.optimisation(proposal.params, plan.schedule)
        changes = {"params": proposal.params, "optimisation": optimisation, "number": number, "draw": number}
        trial = template.model_copy(update=changes)
        state.entries[trial.key] = TrialEntry(trial, 1, (), result_of(trial))
    return {"sampler": sampler, "told": told, "ask (ms)": _median(state.next_trial, first=True)}


def fits(slots: int) -> Json:
    """Measure one question on a full cluster but for one slot."""
    one = Resources(gpu=1.0)
    occupancy = Occupancy([one] * (slots - 1))
    return {"GPUs": slots, "fits (ms)": _median(partial(occupancy.fits, one, nodes_for(slots)))}


def _median(function: Callable[[], object], *, first: bool = False) -> float:
    """Return the median of some calls in milliseconds of CPU time.

    first: whether one more call comes before, not counted.
    """
    seconds = []
    for _ in range(ASKS + first):
        begun = time.process_time()
        function()
        seconds.append(time.process_time() - begun)
    return 1000 * statistics.median(seconds[first:])


def _resident() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def lines(part: str, trials: Sequence[int], slots: Sequence[int]) -> Iterator[Callable[[], Json]]:
    """Yield what measures each line of a part."""
    if part == "fits":
        yield from (partial(fits, count) for count in slots)
    elif part == "ask":
        told = sorted({count for count in (*trials, 5000) if count <= max(trials)})
        yield from (partial(ask, name, count) for name, most in SAMPLERS.items() for count in told if count <= most)
    elif part == "study":
        yield from (partial(study, count, wide, sampler) for sampler in CONSTANT for wide in slots for count in trials)
    else:
        yield from (partial(study, count, slots[-1], "random", store) for store in STORES for count in trials)


def markdown(rows: Sequence[Json]) -> str:
    """Return one table."""
    header = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_text(row.get(name)) for name in header] for row in rows]
    ruled = ["| " + " | ".join(line) + " |" for line in (header, ["--:"] * len(header), *cells)]
    return "\n".join(ruled) + "\n"


def _text(value: object) -> str:
    return "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


PARTS = ("fits", "ask", "study", "tracker")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all unless given")
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--slots", type=int, nargs="+", default=[16, 1000])
    parser.add_argument("--save", type=Path, metavar="FILE", help="JSON file to which the tables are added")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.parts) - set(PARTS))
    if unknown:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    print("; ".join(f"{name}: {value}" for name, value in environment("optuna", "mlflow").items()), flush=True)
    for part in arguments.parts or PARTS:
        rows = []
        for line in lines(part, arguments.trials, arguments.slots):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
                rows.append(alone.submit(line).result())
            print(f"{part}: {rows[-1]}", file=sys.stderr, flush=True)
        print(f"\n{part}, load {os.getloadavg()[0]:.1f}\n\n{markdown(rows)}", flush=True)
        if arguments.save is not None:
            _save(arguments.save, part, rows)
    return 0


def _save(path: Path, part: str, rows: Sequence[Json]) -> None:
    """Replace the lines of a part that were measured again, and keep the others."""
    known: dict[str, list[Json]] = json.loads(path.read_text()) if path.exists() else {}
    facts = environment("optuna", "mlflow")
    keys = ("GPUs", "sampler", "told", "trials", "slots", "store")
    merged = {json.dumps([row.get(key) for key in keys]): row for row in known.get(part, ())}
    merged |= {json.dumps([row.get(key) for key in keys]): {**row, "environment": facts} for row in rows}
    path.write_text(json.dumps({**known, part: list(merged.values())}, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
