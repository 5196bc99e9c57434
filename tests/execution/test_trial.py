from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from harness.api.dataset import Arrays, Batch, Dataset, Split
from harness.api.model import Model
from harness.api.signature import Signature
from harness.api.task import DataFile, Task, Total
from harness.errors import CheckpointError, DataError, PluginError, UserInterrupt
from harness.execution import trial_data
from harness.execution.trial import ActiveTrial, Worker
from harness.plugin.registry import Entry, Registry
from harness.records import Plugin, Point, Resources, Trial, TrialResult
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.seeds import Seeds
from harness.study.plan import make_plan
from harness.study.schema import Study
from harness.training import checkpoint
from harness.training.evaluation import evaluate
from harness.training.network import build_network
from tests.support.toys import Ema, ToyEma, ToySum

MakeStudy = Callable[..., Study]
FOREVER = 1e9
TOYS = Plugin(name="toys", version="unknown")

OPENED: list[str] = []
"""Splits that were loaded from `Watched` tasks."""


class Watched(ToySum):
    name: ClassVar[str] = "watched"

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        OPENED.append(split)
        return super().load(split, seeds, files)


class Sealed(ToySum):
    """Its test split cannot be opened."""

    name: ClassVar[str] = "sealed"

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        if split == "test":
            raise PermissionError("the test split was opened")
        return super().load(split, seeds, files)


class Unloadable(ToySum):
    name: ClassVar[str] = "unloadable"

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        raise KeyError("no such array")


class Filed(ToySum):
    """Needs a file that nobody has."""

    name: ClassVar[str] = "filed"

    def files(self) -> tuple[DataFile, ...]:
        return (DataFile("nowhere/x.bin", 1, "0" * 64),)


class FailsLate(ToySum):
    """Raises at its twentieth batch of training, after points."""

    name: ClassVar[str] = "fails-late"
    batches: ClassVar[int] = 0

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        FailsLate.batches += output.requires_grad
        if FailsLate.batches == 20:
            raise ArithmeticError("late\nand long")
        return super().loss(output, batch)


class DivergesLate(ToySum):
    """Its loss is not a number from the tenth batch of training on."""

    name: ClassVar[str] = "diverges-late"
    batches: ClassVar[int] = 0

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        DivergesLate.batches += output.requires_grad
        totals = super().loss(output, batch)
        late = output.requires_grad and DivergesLate.batches >= 10
        return {name: replace(total, sum=total.sum * torch.nan) for name, total in totals.items()} if late else totals


class Unbuildable(ToyEma):
    name: ClassVar[str] = "unbuildable"

    def build(self, signature: object, widths: tuple[int, ...], **params: Any) -> nn.Module:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


class Doubling(ToyEma):
    """Its `build` changes a setting of the whole process."""

    name: ClassVar[str] = "doubling"

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        backbone = super().build(signature, widths, **params)
        torch.set_default_dtype(torch.float64)
        return backbone


class WithState(Ema):
    """`forward` returns outputs and a state, as that of `nn.LSTM` does."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x), x[:, -1]


class Pair(ToyEma):
    name: ClassVar[str] = "pair"

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        return WithState(signature.in_features, widths[0], bias=True, dropout=0.0, fault="")


def entry(value: Any) -> Entry[Any]:  # a task's class or a model
    return Entry(value.name, value, TOYS, "tests.test_trial")


@pytest.fixture
def registry(toy_registry: Registry) -> Registry:
    tasks = (Watched, Sealed, Unloadable, Filed, FailsLate, DivergesLate)
    models: tuple[Model, ...] = (Unbuildable(), Doubling(), Pair())
    return replace(
        toy_registry,
        tasks={**toy_registry.tasks, **{task.name: entry(task) for task in tasks}},
        models={**toy_registry.models, **{model.name: entry(model) for model in models}},
    )


@pytest.fixture
def worker(tmp_path: Path, registry: Registry) -> Worker:
    OPENED.clear()
    FailsLate.batches = DivergesLate.batches = 0
    return Worker(tmp_path, registry)


@pytest.fixture
def search_trial(toy_study: MakeStudy, toy_registry: Registry) -> Trial:
    plan = make_plan(toy_study(), toy_registry).cells[0]
    return CellState(Proposer(plan, seed=0), study_id="id").search_trial(0)


def of_task(search: Trial, task: type[Task], **changes: object) -> Trial:
    return search.model_copy(update={"task": search.task.model_copy(update={"name": task.name}), **changes})


def final_of(search: Trial) -> Trial:
    return search.model_copy(
        update={"phase": "final", "seeds": Seeds.of(0, 1), "repetition": 0, "winner": search.key, "draw": None}
    )


def finish(active: ActiveTrial, seconds: float = FOREVER) -> tuple[list[Point], TrialResult]:
    points: list[Point] = []
    while True:
        progress = active.advance(seconds)
        points += progress.points
        if progress.result is not None:
            return points, progress.result


def timeless(points: list[Point]) -> list[Point]:
    return [point.model_copy(update={"time": 0.0, "seconds": 0.0}) for point in points]


def folder_of(worker: Worker, of: Trial) -> Path:
    return checkpoint.folder_of(worker.folder, of.key)


def test_a_search_trial_never_opens_the_test_split(worker: Worker, search_trial: Trial) -> None:
    for task in (Watched, Sealed):
        _, result = finish(worker.start(of_task(search_trial, task), 1))
        assert result.outcome == "complete", result.reason
        assert result.test_opened == 0
        assert set(result.metrics) == {"validation"}
        assert (result.weights, result.weights_sha256) == (None, None)
    assert OPENED == ["train", "validation"]


def test_a_final_trial_opens_the_test_split_once_after_training(worker: Worker, search_trial: Trial) -> None:
    active = worker.start(final_of(of_task(search_trial, Watched)), 1)
    active.advance(0)
    assert OPENED == ["train", "validation"]
    _, result = finish(active)
    assert OPENED == ["train", "validation", "test"]
    assert result.test_opened == 1
    assert set(result.metrics) == {"validation", "test", "test-last3"}
    _, sealed = finish(worker.start(final_of(of_task(search_trial, Sealed)), 1))
    assert (sealed.outcome, sealed.test_opened) == ("failed", 0)
    assert "the test split was opened" in sealed.reason


def test_the_test_set_is_one_a_study_and_training_data_are_of_the_stream(worker: Worker, search_trial: Trial) -> None:
    first = final_of(of_task(search_trial, Watched))
    second = first.model_copy(update={"number": 1, "repetition": 1, "seeds": Seeds.of(0, 2)})
    for final in (first, second):
        finish(worker.start(final, 1))
    assert OPENED == ["train", "validation", "test", "train", "validation"]


def test_data_are_loaded_once_for_trials_that_share_them(worker: Worker, search_trial: Trial) -> None:
    watched = of_task(search_trial, Watched)
    for number in range(3):
        finish(worker.start(watched.model_copy(update={"number": number}), 1))
    assert OPENED == ["train", "validation"]
    longer = watched.model_copy(
        update={"task": watched.task.model_copy(update={"options": {"length": 5}}), "number": 3}
    )
    finish(worker.start(longer, 1))
    assert OPENED == ["train", "validation"] * 2


def test_a_worker_keeps_only_so_many_splits(worker: Worker, search_trial: Trial) -> None:
    def train(length: int) -> None:
        watched = of_task(search_trial, Watched)
        task = watched.task.model_copy(update={"options": {"length": length}})
        finish(worker.start(watched.model_copy(update={"task": task, "number": length}), 1))

    lengths = range(3, 3 + trial_data.SPLITS_KEPT // 2 + 1)
    for length in lengths:
        train(length)
    OPENED.clear()
    train(lengths[-1])
    assert OPENED == []
    train(lengths[0])
    assert OPENED == ["train", "validation"]


def test_a_worker_forgets_the_data_of_another_repetition(worker: Worker, search_trial: Trial) -> None:
    for stream in (0, 1, 0):
        finish(worker.start(of_task(search_trial, Watched, seeds=Seeds.of(0, stream), number=stream), 1))
    assert OPENED == ["train", "validation"] * 3


def test_a_result_states_its_score_and_how_it_ran(worker: Worker, search_trial: Trial) -> None:
    points, result = finish(worker.start(search_trial, 1))
    best = min(points, key=lambda point: point.metrics["mse"])
    assert [point.update for point in points] == [4, 8]
    assert result.score == best.metrics["mse"]
    assert result.metrics == {"validation": best.metrics}
    assert (result.best_update, result.updates, result.epochs) == (best.update, 8, 1.0)
    assert result.started <= result.ended
    assert 0 < result.train_seconds <= result.ended - result.started + 0.1
    assert result.peak_bytes is not None
    assert result.peak_bytes > 2**20
    assert result.padding is None
    assert result.state_bytes == 4 * search_trial.widths[0]  # one float32 for each feature of the toy
    assert (result.receptive_field, result.device) == (None, "cpu")
    assert result.versions["torch"] == version("torch")


def test_slices_give_the_points_and_the_result_of_one_go(worker: Worker, search_trial: Trial) -> None:
    whole = finish(worker.start(search_trial, 1))
    sliced = finish(worker.start(search_trial, 1), seconds=0)
    assert timeless(sliced[0]) == timeless(whole[0])
    assert sliced[1].score == whole[1].score


@pytest.mark.parametrize(
    ("fault", "outcome", "reason"),
    [
        ("raise", "failed", r"ValueError: a toy that was told to raise \(toys\.py:\d+\)"),
        ("memory", "out-of-memory", r"MemoryError: a toy that was told to run out of memory \(toys\.py:\d+\)"),
        ("nan", "diverged", r"loss nan at update 4"),
    ],
)
def test_what_a_model_does_is_an_outcome(
    worker: Worker, search_trial: Trial, fault: str, outcome: str, reason: str
) -> None:
    faulty = search_trial.model_copy(update={"build": {**search_trial.build, "fault": fault}})
    _, result = finish(worker.start(faulty, 1))
    assert (result.outcome, result.score) == (outcome, None)
    assert re.fullmatch(reason, result.reason), result.reason
    _, after = finish(worker.start(search_trial, 1))
    assert after.outcome == "complete"


def test_a_search_trial_that_diverges_late_has_the_score_of_its_best_evaluation(
    worker: Worker, search_trial: Trial
) -> None:
    points, result = finish(worker.start(of_task(search_trial, DivergesLate, training=long(search_trial)), 1))
    best = min(points, key=lambda point: point.metrics["mse"])
    assert [point.update for point in points] == [4, 8]
    assert (result.outcome, result.reason) == ("diverged", "loss nan at update 12")
    assert (result.score, result.best_update, result.metrics) == (
        best.metrics["mse"],
        best.update,
        {"validation": best.metrics},
    )
    assert (result.updates, result.test_opened, result.weights) == (12, 0, None)


def test_a_final_trial_that_diverges_late_is_scored_with_its_best_weights(worker: Worker, search_trial: Trial) -> None:
    """And has no mean over the last three evaluations, of which one had no score."""
    final = final_of(of_task(search_trial, DivergesLate, training=long(search_trial)))
    _, result = finish(worker.start(final, 1))
    assert (result.outcome, result.test_opened) == ("diverged", 1)
    assert set(result.metrics) == {"validation", "test"}
    assert result.weights is not None
    weights = checkpoint.load(worker.folder / result.weights, trial=final.digest)
    task = ToySum()
    network = build_network(ToyEma(), task.signature(), final.widths, dict(final.build))
    network.load_state_dict(weights)
    for split in ("validation", "test"):
        data = task.load(split, final.seeds, {})
        assert evaluate(network, task, data, torch.device("cpu")) == result.metrics[split]


def test_a_limited_evaluation_is_of_one_sample_in_every_trial_of_a_study(worker: Worker, search_trial: Trial) -> None:
    limited = search_trial.model_copy(
        update={"training": search_trial.training.model_copy(update={"evaluation_limit": 3})}
    )
    task = ToySum()

    def held_out(of: Trial, split: Split) -> list[list[float]]:
        data = worker.start(of, 1)._held_out(task, split)
        assert isinstance(data, Arrays)
        return data.targets.tolist()

    whole = worker.dataset(task, "test", limited)
    assert isinstance(whole, Arrays)
    tested = held_out(limited, "test")
    assert len(tested) == 3
    assert tested != whole.targets[:3].tolist()
    assert all(target in whole.targets.tolist() for target in tested)
    again = final_of(limited).model_copy(update={"model": "unbuildable", "repetition": 1})
    assert held_out(again, "test") == tested
    other_study = limited.model_copy(update={"seeds": limited.seeds.model_copy(update={"fixed": 1})})
    assert held_out(other_study, "test") != tested
    validation = worker.dataset(task, "validation", limited)
    assert isinstance(validation, Arrays)
    assert len(validation) == len(whole)
    validated = [validation.targets.tolist().index(target) for target in held_out(limited, "validation")]
    assert validated != [whole.targets.tolist().index(target) for target in tested]


def test_a_failure_to_load_names_error_message_and_place(worker: Worker, search_trial: Trial) -> None:
    _, result = finish(worker.start(of_task(search_trial, Unloadable), 1))
    assert result.outcome == "failed"
    assert result.reason.startswith("KeyError: 'no such array' (test_trial.py:")


def test_a_failure_to_build_for_want_of_memory_is_recognised(worker: Worker, search_trial: Trial) -> None:
    _, result = finish(worker.start(search_trial.model_copy(update={"model": "unbuildable"}), 1))
    assert result.outcome == "out-of-memory"
    assert "(test_trial.py:" in result.reason


def test_settings_that_a_build_changes_are_restored_and_the_model_is_named(worker: Worker, search_trial: Trial) -> None:
    before = torch.get_default_dtype()
    progress = worker.start(search_trial.model_copy(update={"model": "doubling"}), 1).advance(FOREVER)
    assert torch.get_default_dtype() == before
    (note,) = progress.notes
    assert note == (
        "model 'doubling' of toys unknown changes settings of the process in build: "
        "torch default dtype (torch.float64); restored"
    )
    assert progress.result is not None
    assert progress.result.outcome == "complete"
    assert finish(worker.start(search_trial, 1))[1].outcome == "complete"


def test_a_model_whose_forward_returns_a_tuple_is_described(worker: Worker, search_trial: Trial) -> None:
    _, result = finish(worker.start(search_trial.model_copy(update={"model": "pair"}), 1))
    assert result.outcome == "failed"
    assert result.reason.startswith(
        "model 'pair' of toys unknown: forward returns a tuple, not a tensor; return the outputs alone"
    )


def test_a_task_that_is_not_there_is_an_outcome(worker: Worker, search_trial: Trial) -> None:
    missing = search_trial.model_copy(update={"task": search_trial.task.model_copy(update={"name": "gone"})})
    _, result = finish(worker.start(missing, 1))
    assert result.outcome == "failed"
    assert "'gone' is not installed" in result.reason


def test_points_before_a_failure_in_the_same_slice_are_told(worker: Worker, search_trial: Trial) -> None:
    points, result = finish(worker.start(of_task(search_trial, FailsLate, training=long(search_trial)), 1))
    assert [point.update for point in points] == [4, 8, 12, 16]
    assert (result.outcome, result.updates, result.best_update is not None) == ("failed", 19, True)
    assert result.reason.startswith("ArithmeticError: late (test_trial.py:")


def long(of: Trial) -> object:
    return of.training.model_copy(update={"updates": 40})


def test_final_weights_reproduce_the_test_scores(worker: Worker, search_trial: Trial) -> None:
    final = final_of(search_trial)
    _, result = finish(worker.start(final, 1))
    assert result.weights == f"checkpoints/{final.key}/weights.pt"
    weights = checkpoint.load(worker.folder / result.weights, trial=final.digest)
    task = ToySum()
    network = build_network(ToyEma(), task.signature(), final.widths, dict(final.build))
    network.load_state_dict(weights)
    test = task.load("test", final.seeds, {})
    assert evaluate(network, task, test, torch.device("cpu")) == result.metrics["test"]
    validation = task.load("validation", final.seeds, {})
    assert evaluate(network, task, validation, torch.device("cpu")) == result.metrics["validation"]
    body = (worker.folder / result.weights).read_bytes().partition(b"\n")[2]
    assert hashlib.sha256(body).hexdigest() == result.weights_sha256


def test_the_paper_s_number_is_the_mean_over_the_last_three_evaluations(worker: Worker, search_trial: Trial) -> None:
    training = search_trial.training.model_copy(update={"updates": 4, "evaluate_every": 1})
    final = final_of(search_trial).model_copy(update={"training": training})
    _, result = finish(worker.start(final, 1))
    scores = []
    for updates in (2, 3, 4):  # each shorter training ends with the weights of that evaluation, which are its last
        shorter = final.model_copy(update={"training": training.model_copy(update={"updates": updates})})
        active = worker.start(shorter.model_copy(update={"number": updates}), 1)
        finish(active)
        run = active._run
        assert run is not None
        run.network.load_state_dict(run.last[-1])
        scores.append(evaluate(run.network, ToySum(), ToySum().load("test", final.seeds, {}), torch.device("cpu")))
    mean = sum(score["mse"] for score in scores) / 3
    assert result.metrics["test-last3"]["mse"] == pytest.approx(mean, rel=1e-12)
    assert result.metrics["test-last3"] != result.metrics["test"]


# ---- checkpoints


def test_another_worker_goes_on_from_a_checkpoint_and_gives_the_same(
    worker: Worker, registry: Registry, search_trial: Trial
) -> None:
    whole = finish(worker.start(search_trial.model_copy(update={"number": 9}), 1))
    first = worker.start(search_trial, 1)
    told = list(first.advance(0).points)
    first.save()
    second = Worker(worker.folder, registry).start(search_trial, 2)
    points, result = finish(second, 0)
    assert timeless(told + points) == timeless(whole[0])
    assert result.score == whole[1].score
    assert result.updates == 8
    assert [path.name for path in folder_of(worker, search_trial).iterdir()] == ["attempt-0001.pt"]


def test_a_damaged_checkpoint_is_said_and_an_older_one_serves(worker: Worker, search_trial: Trial) -> None:
    active = worker.start(search_trial, 1)
    active.advance(0)
    active.save()
    checkpoint.attempt_path(folder_of(worker, search_trial), 2).write_bytes(b"torn")
    again = worker.start(search_trial, 3)
    progress = again.advance(0)
    assert len(progress.notes) == 1
    assert "attempt-0002.pt: is no checkpoint" in progress.notes[0]
    assert again.advance(0).notes == ()


def test_a_trial_of_other_content_starts_anew(worker: Worker, search_trial: Trial) -> None:
    active = worker.start(search_trial, 1)
    active.advance(0)
    active.save()
    other = search_trial.model_copy(update={"seeds": Seeds.of(5, 0)})
    progress = worker.start(other, 2).advance(FOREVER)
    assert "belongs to another trial" in progress.notes[0]
    assert progress.result is not None
    assert progress.result.score == finish(worker.start(other.model_copy(update={"number": 7}), 1))[1].score


def test_nothing_is_saved_before_the_first_update_nor_after_the_end(worker: Worker, search_trial: Trial) -> None:
    active = worker.start(search_trial, 1)
    active.save()
    finish(active)
    active.save()
    assert not list(worker.folder.rglob("attempt-*"))


def test_a_state_broken_off_by_an_interrupt_is_not_saved(worker: Worker, search_trial: Trial) -> None:
    active = worker.start(search_trial, 1)
    active.advance(0)
    active.save()
    path = checkpoint.attempt_path(folder_of(worker, search_trial), 1)
    before = path.read_bytes()
    run = active._run
    assert run is not None

    left = iter(range(3))

    def interrupt(module: nn.Module, gradients: object, outputs: object) -> None:
        if next(left, None) is None:
            raise UserInterrupt

    handle = run.network.decoder.register_full_backward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        active.advance(FOREVER)
    handle.remove()
    assert run.update == 4
    active.save()
    assert path.read_bytes() == before


def test_a_disk_that_fails_is_not_the_trial_s_outcome(worker: Worker, search_trial: Trial) -> None:
    often = search_trial.model_copy(update={"resources": Resources(checkpoint_seconds=1e-9)})
    (worker.folder / "checkpoints").write_text("a file where a folder belongs")
    with pytest.raises(CheckpointError, match=r"cannot be (written|read)"):
        finish(worker.start(often, 1), 0)


# ---- workers


@pytest.mark.parametrize(
    ("expected", "difference"),
    [
        ((Plugin(name="toys", version="2"),), "toys: driver 2, worker unknown"),
        ((TOYS, Plugin(name="more", version="1")), "more: driver 1, worker absent"),
        ((), "toys: driver absent, worker unknown"),
    ],
)
def test_other_plugins_than_the_driver_s_are_refused_with_the_difference(
    worker: Worker, expected: tuple[Plugin, ...], difference: str
) -> None:
    with pytest.raises(PluginError, match=rf"\({difference}\); install the same versions everywhere"):
        worker.check_plugins(expected)


def test_the_driver_s_plugins_are_accepted_in_any_order(worker: Worker) -> None:
    worker.check_plugins(worker.registry.plugins)
    worker.check_plugins(tuple(reversed(worker.registry.plugins)))


def test_a_missing_data_file_is_told_with_its_name(
    worker: Worker, search_trial: Trial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    with pytest.raises(DataError, match=r"nowhere/x\.bin .* is missing"):
        worker.dataset(Filed(), "train", search_trial)


def test_initial_weights_follow_the_init_seed_alone(worker: Worker, search_trial: Trial) -> None:
    def weights(of: Trial) -> Tensor:
        torch.rand(3)
        active = worker.start(of, 1)
        return active._network(ToySum()).decoder.weight.detach()

    base = weights(search_trial)
    for axis in ("fixed", "data", "order", "noise", "init"):
        seeds = search_trial.seeds.model_copy(update={axis: 77})
        other = weights(search_trial.model_copy(update={"seeds": seeds}))
        assert torch.equal(base, other) == (axis != "init"), axis
