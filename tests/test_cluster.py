from __future__ import annotations

import importlib
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cluster import Cluster, temporary_folder
from harness.deaths import SILENT_DEATHS
from harness.errors import ClusterError, LedgerError
from harness.ledger import Entry, read_study
from harness.placement import Node, fits_beside, slots_for
from harness.plugins import DISABLE, GROUP, Loaded, load_plugins
from harness.records import Death, Point, Resources, Trial, TrialResult
from harness.run import Outcome, Runner
from harness.serial import run_serial
from harness.study import Study, parse_study
from harness.trial import Desk, Worker

GIB = 2**30

# ---- capacity, against all placements


def place_all(nodes: Sequence[Node], trials: Sequence[Resources]) -> bool:
    """Whether any placement holds these trials: every node, and every GPU for a fraction of one, is tried."""
    rooms = [[node.cpu, node.memory_bytes, *([1.0] * int(node.gpu))] for node in nodes]

    def place(left: Sequence[Resources]) -> bool:
        if not left:
            return True
        trial, rest = left[0], left[1:]
        for room in rooms:
            for gpus in choices(room, trial.gpu):
                needs = [(0, trial.cpu), (1, trial.memory_gib * GIB), *((gpu, min(trial.gpu, 1)) for gpu in gpus)]
                if all(need <= room[index] + 1e-6 for index, need in needs):
                    for index, need in needs:
                        room[index] -= need
                    if place(rest):
                        return True
                    for index, need in needs:
                        room[index] += need
        return False

    return place(trials)


def choices(room: list[float], gpu: float) -> list[list[int]]:
    """Indices of the GPUs that a trial may have on a node: any one for a fraction, the free ones for whole GPUs."""
    if gpu == 0:
        return [[]]
    if gpu < 1:
        return [[index] for index in range(2, len(room))]
    free = [index for index in range(2, len(room)) if room[index] > 1 - 1e-6]
    return [free[: int(gpu)]] if len(free) >= gpu else []


NODES = st.lists(
    st.builds(
        Node,
        st.just("n"),
        st.integers(0, 4).map(float),
        st.integers(0, 2).map(float),
        st.sampled_from([0.0, 4.0 * GIB]),
    ),
    max_size=3,
)
TRIALS = st.builds(
    Resources,
    cpu=st.sampled_from([0.5, 1, 1.5, 2, 3]),
    gpu=st.sampled_from([0, 0, 0.25, 0.3, 0.4, 0.5, 0.6, 1, 2]),
    memory_gib=st.sampled_from([0, 0, 1, 3]),
)


@given(NODES, st.lists(TRIALS, max_size=4), TRIALS)
@settings(max_examples=300, deadline=None)
def test_what_fits_has_a_placement(nodes: list[Node], running: list[Resources], wanted: Resources) -> None:
    if fits_beside(running, wanted, nodes):
        assert place_all(nodes, [*running, wanted])


@given(NODES, TRIALS, st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_trials_of_one_class_fit_exactly_where_a_placement_exists(
    nodes: list[Node], wanted: Resources, running: int
) -> None:
    assert fits_beside([wanted] * running, wanted, nodes) == place_all(nodes, [wanted] * (running + 1))


@given(NODES, TRIALS)
@settings(max_examples=200, deadline=None)
def test_slots_are_the_most_that_fit(nodes: list[Node], wanted: Resources) -> None:
    slots = slots_for(wanted, nodes)
    assert slots == 0 or fits_beside([wanted] * (slots - 1), wanted, nodes)
    assert not fits_beside([wanted] * slots, wanted, nodes)


@pytest.mark.parametrize(
    ("gpu", "slots"), [(0.5, 4), (0.4, 4), (0.3, 6), (0.1, 20), (1 / 3, 6), (1, 2), (2, 1), (1.5, 0), (3, 0)]
)
def test_a_fraction_lies_on_one_gpu(gpu: float, slots: int) -> None:
    assert slots_for(Resources(gpu=gpu), [Node("n", 64, 2, 0)]) == slots


def test_two_halves_of_two_nodes_are_no_whole() -> None:
    nodes = [Node("a", 2, 0, 0), Node("b", 2, 0, 0)]
    assert slots_for(Resources(cpu=3), nodes) == 0
    assert not fits_beside([], Resources(cpu=3), nodes)
    assert not fits_beside([Resources(cpu=1.5)] * 2, Resources(cpu=1), nodes)


def test_trials_without_a_gpu_do_not_keep_one_idle() -> None:
    nodes = [Node("gpu", 8, 1, 0), Node("cpu", 8, 0, 0)]
    assert fits_beside([Resources(cpu=8)], Resources(cpu=1, gpu=1), nodes)
    assert not fits_beside([Resources(cpu=8)] * 2, Resources(cpu=1, gpu=1), nodes)


def test_memory_counts_where_it_is_asked_for() -> None:
    node = Node("n", 8, 0, 10 * GIB)
    assert slots_for(Resources(cpu=1, memory_gib=4), [node]) == 2
    assert slots_for(Resources(cpu=1), [node]) == 8


def test_nothing_fits_a_cluster_without_nodes() -> None:
    assert slots_for(Resources(), []) == 0
    assert not fits_beside([], Resources(), [])


# ---- Ray itself

MORE_TOYS = '''

import math


class ToyOverflow(ToySum):
    """A second metric that overflows, as the perplexity of a bad model does."""

    name: ClassVar[str] = "toy-overflow"

    def metrics(self) -> tuple[Metric, ...]:
        return (*super().metrics(), Metric("ppl", "", "lower", lambda sums: math.exp(1e9)))


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    register(ToyOverflow)
'''


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """The toys as an installed distribution, here and in worker processes, with no other plugin beside it."""
    site = tmp_path_factory.mktemp("site")
    shutil.copy(Path(__file__).with_name("toys.py"), site / "toys_of_test_cluster.py")
    with (site / "toys_of_test_cluster.py").open("a") as file:
        file.write(MORE_TOYS)
    info = site / "toys_of_test_cluster-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys-of-test-cluster\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\ntoys = toys_of_test_cluster\n")
    others = {point.dist.name for point in entry_points(group=GROUP) if point.dist}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")])))
        patch.setenv(DISABLE, ",".join(sorted(others)))
        importlib.invalidate_caches()
        loaded = load_plugins()
        assert [plugin.name for plugin in loaded.registry.plugins] == ["toys-of-test-cluster"]
        yield loaded


def make_study(**overrides: Any) -> Study:  # Any: the tables of a study file
    data: dict[str, Any] = {
        "name": "toys",
        "models": ["toy-ema", "toy-stack"],
        "tasks": [{"name": "toy-overflow", "parameters": 161}],
        "budget": {"trials": 2, "repetitions": 2, "tolerance": 0.1},
        "training": {"updates": 12, "batch_size": 8, "evaluations": 3},
        **overrides,
    }
    return parse_study(data, source="toys.toml")


class Passing:
    """A desk that hands everything on."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def deal(self, fits: Callable[[Resources], bool]) -> tuple[Trial, int] | None:
        return self.desk.deal(fits)

    def companions(self, trial: Trial) -> tuple[tuple[Trial, int], ...]:
        return self.desk.companions(trial)

    def report(self, trial: Trial, points: tuple[Point, ...]) -> None:
        self.desk.report(trial, points)

    def note(self, trial: Trial, text: str) -> None:
        self.desk.note(trial, text)

    def end(self, trial: Trial, result: TrialResult) -> None:
        self.desk.end(trial, result)

    def lose(self, trial: Trial, why: str, *, death: Death) -> None:
        self.desk.lose(trial, why, death=death)

    def finished(self) -> bool:
        return self.desk.finished()

    def classes(self) -> tuple[Resources, ...]:
        return self.desk.classes()


def run_on_ray(
    study: Study, loaded: Loaded, runs: Path, around: Callable[[Desk], Desk] = Passing, **options: Any
) -> Outcome:
    runner = Runner(study, loaded, runs)
    cluster = Cluster(messages=runner.messages, **options)
    try:
        return runner.run(lambda desk: cluster.run(around(desk), runner.folder, loaded.registry.plugins))
    finally:
        assert not ray_processes(), "Ray was left running"


def ray_processes() -> list[str]:
    """Processes of Ray below this one; a zombie has ended."""
    names = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                names.append(process.name())
        except psutil.NoSuchProcess:
            continue
    return [name for name in names if name in ("raylet", "gcs_server") or name.startswith("ray::")]


def run_here(study: Study, loaded: Loaded, runs: Path) -> Outcome:
    runner = Runner(study, loaded, runs)
    return runner.run(lambda desk: run_serial(desk, Worker(runner.folder, loaded.registry)))


def lasting(entry: Entry) -> object:
    """What must not depend on the executor."""
    assert entry.result is not None
    result = entry.result
    curve = [(point.update, point.train_loss, point.metrics) for point in entry.points]
    trial = entry.trial.model_dump(exclude={"study", "winner"})
    scores = (result.outcome, result.score, result.metrics, result.updates, result.best_update, result.test_opened)
    return trial, curve, scores


def by_key(folder: Path) -> dict[str, Entry]:
    return {entry.trial.key.partition("/")[2]: entry for entry in read_study(folder).entries()}


EXITS = {"name": "toy-ema", "as": "exits", "space": {"fault": "exit"}}


@dataclass(frozen=True)
class Both:
    """One study on Ray, with a third model that ends its workers, and here, without it."""

    ray: Outcome
    here: Outcome


@pytest.fixture(scope="module")
def both(installed: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp("both")
    here = run_here(make_study(), installed, folder / "here")
    models = [EXITS, "toy-ema", "toy-stack"]
    return Both(run_on_ray(make_study(models=models), installed, folder / "ray", slice_seconds=0.05), here)


def test_ray_gives_the_trials_and_scores_of_one_process(both: Both) -> None:
    expected = {key: lasting(entry) for key, entry in by_key(both.here.folder).items()}
    found = {key: lasting(entry) for key, entry in by_key(both.ray.folder).items() if "/exits/" not in key}
    assert found == expected
    assert len(found) == 8


def test_a_stack_on_ray_gives_the_trials_and_scores_of_one_here(installed: Loaded, tmp_path: Path) -> None:
    study = make_study(resources={"stack": 2}, budget={"trials": 2, "repetitions": 3, "tolerance": 0.1})
    here, on_ray = (by_key(run(study, installed, tmp_path / run.__name__).folder) for run in (run_here, run_on_ray))
    assert {key: lasting(entry) for key, entry in on_ray.items()} == {key: lasting(e) for key, e in here.items()}
    first, second = (on_ray[f"toy-overflow/toy-ema/final/{number}"].result for number in (0, 1))
    assert first is not None
    assert second is not None
    assert first.worker == second.worker
    assert max(first.started, second.started) < min(first.ended, second.ended), "one after the other"


def test_trials_of_a_stack_whose_worker_is_killed_are_dealt_again_one_by_one(installed: Loaded, tmp_path: Path) -> None:
    study = make_study(
        models=["toy-ema"],
        resources={"stack": 3},
        budget={"trials": 1, "repetitions": 3},
        training={"updates": 1200, "batch_size": 8, "evaluations": 100},
        search={"space": {"dropout": 0.0}},
    )
    expected = by_key(run_here(study, installed, tmp_path / "here").folder)

    class Killing(Passing):
        killed = False

        def report(self, trial: Trial, points: tuple[Point, ...]) -> None:
            super().report(trial, points)
            if points and trial.phase == "final" and not self.killed:
                self.killed = True
                for process in psutil.Process().children(recursive=True):
                    if process.name().startswith("ray::RayWorker"):
                        process.kill()

    outcome = run_on_ray(study, installed, tmp_path / "ray", Killing, slice_seconds=0.05)
    assert outcome.complete
    assert len([message for message in outcome.messages if "dealt again" in message]) == 3
    found = by_key(outcome.folder)
    for number in range(3):
        mine, its = (entries[f"toy-overflow/toy-ema/final/{number}"] for entries in (found, expected))
        assert mine.attempt == 2
        assert mine.result is not None
        assert its.result is not None
        assert mine.result.score == pytest.approx(its.result.score, rel=1e-3)


def test_numbers_that_are_not_finite_arrive(both: Both) -> None:
    finals = [entry.result for key, entry in by_key(both.ray.folder).items() if "/final/" in key and entry.result]
    assert finals
    for result in finals:
        assert [result.metrics[part]["ppl"] for part in ("validation", "test", "test-last3")] == [math.inf] * 3


def test_workers_are_reused(both: Both) -> None:
    entries = [entry for entry in by_key(both.ray.folder).values() if entry.trial.cell.model != "exits"]
    workers = {entry.result.worker for entry in entries if entry.result}
    assert len(workers) < len(entries)
    assert all(workers)
    assert {entry.attempt for entry in entries} == {1}


def test_a_model_that_ends_its_worker_without_a_trace_is_tried_again_and_costs_the_others_nothing(both: Both) -> None:
    assert both.ray.complete
    (failed,) = both.ray.failed
    assert failed.startswith("toy-overflow/exits: no search trial completed: its worker died 4 times: ")
    exits = [entry for entry in by_key(both.ray.folder).values() if entry.trial.cell.model == "exits"]
    assert [(entry.attempt, entry.result.outcome) for entry in exits if entry.result] == [(SILENT_DEATHS, "failed")] * 2
    assert len([message for message in both.ray.messages if "dealt again" in message]) == 2 * (SILENT_DEATHS - 1)


def test_what_a_desk_raises_at_an_end_ends_the_run_and_is_raised(installed: Loaded, tmp_path: Path) -> None:
    ended: list[str] = []

    class Full(Passing):
        def end(self, trial: Trial, result: TrialResult) -> None:
            ended.append(result.outcome)
            if len(ended) == 2:
                raise LedgerError("the disk is full")
            super().end(trial, result)

    with pytest.raises(LedgerError, match="the disk is full"):
        run_on_ray(make_study(), installed, tmp_path, Full)
    assert ended[:2] == ["complete"] * 2
    dealt = by_key(tmp_path / "toys").values()
    assert len(dealt) <= 4, "trials were dealt after the error"
    assert all(entry.result is None or entry.result.outcome == "complete" for entry in dealt)


def test_a_class_that_no_node_can_hold_is_an_error_before_the_first_trial(installed: Loaded, tmp_path: Path) -> None:
    study = make_study(resources={"cpu": 100_000})
    with pytest.raises(ClusterError, match=r"a trial wants 100000 cpu .* which no node has .*lower \[resources\]") as e:
        run_on_ray(study, installed, tmp_path)
    assert "\n" not in str(e.value)
    assert by_key(tmp_path / "toys") == {}


def test_an_interrupt_writes_checkpoints_from_which_another_executor_goes_on(installed: Loaded, tmp_path: Path) -> None:
    study = make_study(
        models=["toy-ema"],
        budget={"trials": 2, "repetitions": 1},
        training={"updates": 1200, "batch_size": 8, "evaluations": 100},
    )
    expected = {key: lasting(entry) for key, entry in by_key(run_here(study, installed, tmp_path / "a").folder).items()}

    class Interrupted(Passing):
        def report(self, trial: Trial, points: tuple[Point, ...]) -> None:
            super().report(trial, points)
            if points and points[0].update < 100:
                os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_on_ray(study, installed, tmp_path / "b", Interrupted, slice_seconds=0.05)
    assert signal.getsignal(signal.SIGINT) is handler
    folder = tmp_path / "b" / "toys"
    assert list(folder.rglob("attempt-0001.pt")), "no worker wrote a checkpoint"
    outcome = run_here(study, installed, tmp_path / "b")
    assert outcome.complete
    assert {key: lasting(entry) for key, entry in by_key(folder).items()} == expected


NOBODY = cast(Desk, None)
"""A desk that must not be asked."""


def test_an_address_where_no_ray_is_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"--address 127\.0\.0\.1:1: nothing answers there .*ray start") as caught:
        Cluster("127.0.0.1:1").run(Passing(NOBODY), tmp_path, ())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("folder", "expected"), [("/tmp", None), ("/scratch/" + "a" * 60, "/tmp/ray")])
def test_sockets_are_where_their_paths_fit(folder: str, expected: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", folder)
    assert temporary_folder() == expected
