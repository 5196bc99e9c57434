"""Token streams: content of batches, agreement of the ways of reading, and resumed training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from harness.api.dataset import Batch, Dataset, Ragged, Split, Stream
from harness.api.signature import Classes, Signature, Tokens
from harness.api.task import Metric, Task, Total, bits_of, perplexity_of
from harness.execution.trial import Worker
from harness.plugin.registry import Entry, Registry
from harness.records import Optimisation, Training
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.seeds import Seeds
from harness.study.plan import make_plan
from harness.study.schema import Study
from harness.training import checkpoint, evaluation
from harness.training.batches import StreamBatches, evaluation_batches, training_batches
from harness.training.evaluation import evaluate
from harness.training.network import Network, build_network, map_state, offers_scan
from harness.training.run import TrainingData, TrainingRun
from harness.training.standard_errors import GROUPS, evaluate_with_errors
from tests.support.toys import ToyEma, ToyStack

CPU = torch.device("cpu")
SEEDS = Seeds.of(0, 0)
VOCABULARY = 7
BEFORE = 3


class ToyTokens(Task):
    """A drawn sequence in which a token follows from the one two steps before it, but for one in ten."""

    name: ClassVar[str] = "toy-tokens"
    tokens: int = 331
    scored: int = 10
    history: int = 0
    reading: Literal["carry", "window"] = "carry"
    rows: int = 1

    def signature(self) -> Signature:
        return Signature(Tokens(VOCABULARY, 4), Classes(VOCABULARY), length=self.scored, readout="each", tied=True)

    def metrics(self) -> tuple[Metric, ...]:
        return (
            Metric("perplexity", "", "lower", perplexity_of("nll"), scale="log"),
            Metric("bits", "bits", "lower", bits_of("nll")),
        )

    def training_sequences(self) -> int:
        return -(-self.tokens // self.scored)

    def updates_per_epoch(self, batch_size: int) -> int:
        return math.ceil(math.ceil(self.tokens / batch_size) / self.scored)

    def carries(self) -> bool:
        return self.reading == "carry"

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        random = np.random.default_rng(len(split))
        tokens = [0, 1]
        for _ in range(self.tokens - 2):
            drawn = int(random.integers(VOCABULARY))
            tokens.append(drawn if random.random() < 0.1 else (tokens[-2] + 1) % VOCABULARY)
        return Stream(
            torch.from_numpy(np.array(tokens, dtype=np.uint8)),
            before=BEFORE,
            scored=self.scored,
            history=self.history if self.reading == "window" else None,
            rows=self.rows,
        )

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        nats = F.cross_entropy(output.flatten(0, -2), batch.targets.flatten(), reduction="none")
        mask = torch.ones_like(batch.targets, dtype=torch.bool) if batch.mask is None else batch.mask
        return {"nll": Total((nats * mask.flatten()).sum(dtype=torch.float64), mask.sum())}


class ToyReread(ToyTokens):
    """Scored on the first eighth of the test split too."""

    name: ClassVar[str] = "toy-reread"

    def readings(self, test: Dataset) -> dict[str, Dataset]:
        assert isinstance(test, Stream)
        return {"part": replace(test, tokens=test.tokens[: len(test) // 8])}


class Unscanned(nn.Module):
    """A backbone without its `scan`, and optionally without its receptive field."""

    def __init__(self, backbone: nn.Module, receptive_field: int | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.out_features = int(backbone.out_features)  # type: ignore[arg-type]  # as every backbone has
        self.receptive_field = receptive_field

    def forward(self, x: Tensor) -> Tensor:
        return self.backbone(x)  # type: ignore[no-any-return]


def stream(tokens: int = 100, **changes: Any) -> Stream:  # Any: fields of a stream
    numbers = torch.arange(tokens, dtype=torch.int32) % 97
    return Stream(numbers, **{"before": 98, "scored": 8, "history": None, **changes})


def stack(levels: int) -> Network:
    """A convolution of receptive field levels + 1, without `scan`."""
    torch.manual_seed(0)
    return build_network(ToyStack(), ToyTokens().signature(), (4,) * levels, {"layers": levels})


def ema(seed: int = 0, dropout: float = 0.0) -> Network:
    torch.manual_seed(seed)
    return build_network(ToyEma(), ToyTokens().signature(), (6,), {"dropout": dropout})


# What a batch holds.


@pytest.mark.parametrize("history", [None, 0, 3, 8, 20])
@pytest.mark.parametrize(("tokens", "rows", "scored"), [(100, 1, 8), (100, 4, 8), (101, 4, 8), (97, 3, 32), (9, 4, 2)])
def test_epoch_scores_every_token_once_from_the_token_before_it(
    tokens: int, rows: int, scored: int, history: int | None
) -> None:
    batches = StreamBatches(stream(tokens), rows=rows, scored=scored, history=history, device=CPU)
    numbers = stream(tokens).tokens.long()
    before = torch.cat([torch.tensor([98]), numbers[:-1]])
    seen: list[list[tuple[int, int]]] = [[] for _ in range(rows)]
    for update, batch in enumerate(batches):
        steps = batch.targets.shape[1]
        real = torch.ones_like(batch.targets, dtype=torch.bool) if batch.mask is None else batch.mask
        assert batch.inputs.shape[1] == steps + min(history or 0, update * scored)
        for row in range(rows):
            read = batch.inputs[row, -steps:][real[row]].tolist(), batch.targets[row][real[row]].tolist()
            seen[row] += zip(*read, strict=True)
    assert batches.per_epoch == update + 1 == math.ceil(math.ceil(tokens / rows) / scored)
    assert [pair for row in seen for pair in row] == list(zip(before.tolist(), numbers.tolist(), strict=True))
    assert max(map(len, seen)) - min(map(len, seen)) <= 1


def test_window_shows_the_history_before_its_scored_tokens() -> None:
    batches = StreamBatches(stream(40), rows=2, scored=5, history=3, device=CPU)
    batch = batches.at(2)
    assert batch.inputs.tolist() == [list(range(6, 14)), list(range(26, 34))]
    assert batch.targets.tolist() == [list(range(10, 15)), list(range(30, 35))]
    assert (batch.scored, batch.lengths, batch.continues) == (5, None, None)


def test_carrying_batch_continues_but_at_an_epochs_start() -> None:
    batches = StreamBatches(stream(40), rows=2, scored=5, history=None, device=CPU)
    assert [batches.at(update).continues for update in range(9)] == [False, True, True, True] * 2 + [False]
    assert batches.at(0).inputs.tolist() == [[98, 0, 1, 2, 3], [19, 20, 21, 22, 23]]
    assert all(batches.at(update).scored is None for update in range(4))


def test_training_batches_of_a_stream_are_as_many_as_the_task_says() -> None:
    for batch_size, scored in itertools.product((1, 2, 3, 16), (1, 7, 40)):
        task = ToyTokens(scored=scored)
        batches = training_batches(task.load("train", SEEDS, {}), batch_size=batch_size, order_seed=0, device=CPU)
        assert batches.per_epoch == task.updates_per_epoch(batch_size)
        assert batches.padding is None


@pytest.mark.parametrize("history", [None, 3])
def test_batches_of_a_stream_lie_on_the_device_asked_for(history: int | None) -> None:
    meta = torch.device("meta")  # a device without storage: reading any value back from it would raise
    batches = StreamBatches(stream(101), rows=4, scored=8, history=history, device=meta)
    for batch in batches:
        assert batch.inputs.device == batch.targets.device == meta
        assert batch.lengths is None or batch.lengths.device == meta
    assert batch.lengths is not None


def test_stream_shorter_than_its_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="a stream of 3 tokens cannot be cut into 4 rows"):
        StreamBatches(stream(3), rows=4, scored=1, history=None, device=CPU)


@pytest.mark.parametrize(
    "changes",
    [{"tokens": torch.zeros(2, 2, dtype=torch.int64)}, {"tokens": torch.zeros(4)}, {"scored": 0}, {"history": -1}],
)
def test_stream_of_another_form_is_refused(changes: dict[str, Any]) -> None:  # Any: fields of a stream
    with pytest.raises(ValueError, match=r"tokens \(.*\) torch\..*, scored \d+, history"):
        replace(stream(), **changes)


@settings(max_examples=60, deadline=None)
@given(
    tokens=st.integers(12, 90),
    rows=st.integers(1, 6),
    scored=st.integers(1, 20),
    lead=st.integers(1, 6),
    history=st.one_of(st.none(), st.integers(0, 9)),
)
def test_with_a_lead_every_token_is_scored_once_and_every_row_has_as_long_a_past(
    tokens: int, rows: int, scored: int, lead: int, history: int | None
) -> None:
    data = Stream(torch.arange(1, tokens + 1), before=0, scored=1, history=None)
    batches = StreamBatches(data, rows=rows, scored=scored, history=history, device=CPU, lead=lead)
    targets: list[int] = []
    read: list[list[int]] = [[] for _ in range(rows)]
    for number, batch in enumerate(batches):
        assert batch.continues == (None if history is not None else number > 0)
        steps = batch.targets.shape[1]
        mask = torch.ones_like(batch.targets, dtype=torch.bool) if batch.mask is None else batch.mask
        targets += batch.targets[mask].tolist()
        for row in range(rows):
            read[row] += batch.inputs[row, -steps:].tolist()
        if history is not None:
            first = len(read[0]) - steps
            assert batch.inputs.shape[1] == steps + min(history, first)
    assert sorted(targets) == list(range(1, tokens + 1))
    starts = [row[lead] for row in read]
    assert all(row[:lead] == list(range(start - lead, start)) for row, start in zip(read, starts, strict=True))
    assert read[0][0] == 0


def test_batches_read_the_tokens_where_they_lie() -> None:
    data = stream(tokens=100)
    batches = StreamBatches(data, rows=2, scored=5, history=None, device=CPU)
    data.tokens[7] = 55
    assert batches.at(1).targets[0].tolist() == [5, 6, 55, 8, 9]


def test_map_state_keeps_the_tree() -> None:
    ones, zeros = torch.ones(2), torch.zeros(3)
    state = (ones, [(zeros, ones)], {"c": zeros})
    doubled = map_state(lambda tensor: 2 * tensor + 1, state)
    assert type(doubled) is tuple
    assert [value.tolist() for value in (doubled[0], *doubled[1][0], doubled[2]["c"])] == [
        [3, 3],
        [1, 1, 1],
        [3, 3],
        [1, 1, 1],
    ]
    assert map_state(torch.neg, None) is None


# Evaluation: the ways of reading agree.


def whole_pass(net: Network, data: Stream) -> float:
    """Nats a token by one forward pass, in float64."""
    tokens = data.tokens.long()
    inputs = torch.cat([torch.tensor([data.before]), tokens[:-1]])
    with torch.no_grad():
        return float(F.cross_entropy(net.double().eval()(inputs[None])[0], tokens))


@pytest.mark.parametrize("steps", [1, 7, 64, 4096])
def test_scan_over_any_split_equals_one_pass(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    monkeypatch.setattr(evaluation, "EVALUATION_TOKENS", steps)
    task, net = ToyTokens(), ema().double()
    data = task.load("test", SEEDS, {})
    assert isinstance(data, Stream)
    assert evaluate(net, task, data, CPU)["perplexity"] == pytest.approx(math.exp(whole_pass(net, data)), rel=1e-12)


@pytest.mark.parametrize("net", [ema(), stack(3)], ids=["scan", "windows"])
def test_standard_error_of_a_stream_is_that_of_its_windows(net: Network) -> None:
    task = ToyTokens()
    data = task.load("test", SEEDS, {})
    assert isinstance(data, Stream)
    scores = evaluate_with_errors(net, task, data, CPU)
    assert scores.metrics == evaluate(net, task, data, CPU)
    assert GROUPS <= scores.groups <= 2 * GROUPS
    # Tokens are drawn independently, so that the standard error is that of the mean of their nats.
    tokens = data.tokens.long()
    with torch.no_grad():
        outputs = net.eval()(torch.cat([torch.tensor([data.before]), tokens[:-1]])[None])[0]
    nats = F.cross_entropy(outputs, tokens, reduction="none")
    expected = scores.metrics["perplexity"] * float(nats.std()) / math.sqrt(len(tokens))
    assert scores.standard_errors["perplexity"] == pytest.approx(expected, rel=0.6)


@pytest.mark.parametrize("steps", [1, 7, 64, 4096])
@pytest.mark.parametrize("levels", [1, 3])
def test_windows_with_the_receptive_field_before_them_equal_one_pass(
    monkeypatch: pytest.MonkeyPatch, steps: int, levels: int
) -> None:
    monkeypatch.setattr(evaluation, "EVALUATION_TOKENS", steps)
    task, net = ToyTokens(), stack(levels).double()
    data = task.load("test", SEEDS, {})
    assert isinstance(data, Stream)
    assert evaluate(net, task, data, CPU)["perplexity"] == pytest.approx(math.exp(whole_pass(net, data)), rel=1e-12)


def test_windows_with_less_history_differ_from_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "EVALUATION_TOKENS", 5)
    task, net = ToyTokens(), stack(3).double()
    net.backbone = Unscanned(net.backbone, receptive_field=3)  # one step less than it has
    data = task.load("test", SEEDS, {})
    assert isinstance(data, Stream)
    assert evaluate(net, task, data, CPU)["perplexity"] != pytest.approx(math.exp(whole_pass(net, data)), rel=1e-6)


def test_backbone_of_unknown_field_is_evaluated_with_the_history_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "EVALUATION_TOKENS", 5)
    net = stack(3).double()
    net.backbone = Unscanned(net.backbone, receptive_field=None)
    scores = []
    for history in (2, 3, 30):
        task = ToyTokens(reading="window", history=history)
        scores.append(evaluate(net, task, task.load("test", SEEDS, {}), CPU)["perplexity"])
    assert scores[0] != pytest.approx(scores[1], rel=1e-6)  # its field is four steps
    assert scores[1] == pytest.approx(scores[2], rel=1e-12)


def scores_by_rows(net: Network, task: ToyTokens) -> dict[int, float]:
    """Bits of the test split, read in one row and in five."""
    data = task.load("test", SEEDS, {})
    assert isinstance(data, Stream)
    return {rows: evaluate(net, task, replace(data, rows=rows), CPU)["bits"] for rows in (1, 5)}


@pytest.mark.parametrize("steps", [7, 64, 4096])
@pytest.mark.parametrize("scanned", [True, False], ids=["scan", "windows"])
def test_scores_do_not_depend_on_the_number_of_rows(monkeypatch: pytest.MonkeyPatch, scanned: bool, steps: int) -> None:
    monkeypatch.setattr(evaluation, "EVALUATION_TOKENS", steps)
    monkeypatch.setattr(evaluation, "EVALUATION_LEAD", 40)
    seen: set[int] = set()

    class Counted(ToyTokens):
        def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
            seen.add(len(output))
            return super().loss(output, batch)

    scores = scores_by_rows((ema() if scanned else stack(3)).double(), Counted(tokens=431))
    assert seen == {1, 5}
    assert scores[5] == pytest.approx(scores[1], rel=1e-12 if not scanned else 1e-6)


def test_a_field_beyond_the_lead_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "EVALUATION_LEAD", 1)
    scores = scores_by_rows(stack(9).double(), ToyTokens())
    assert scores[5] == pytest.approx(scores[1], rel=1e-12)


@pytest.mark.parametrize(("tokens", "rows"), [(1, 1), (1535, 1), (1536, 2), (5631, 9), (5632, 10), (100_000, 10)])
def test_a_short_stream_has_fewer_rows(tokens: int, rows: int) -> None:
    """Each row scores at least as many tokens as it reads before, so that an evaluation reads at most twice as many."""
    seen: list[Batch] = []

    class Seen(ToyTokens):
        def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
            seen.append(replace(batch, inputs=batch.inputs.clone()))
            return super().loss(output, batch)

    data = Stream(torch.zeros(tokens, dtype=torch.int64), before=BEFORE, scored=10, history=None, rows=10)
    evaluate(ema(), Seen(), data, CPU)
    assert {len(batch.inputs) for batch in seen} == {rows}
    assert sum(batch.inputs.numel() for batch in seen) <= 2 * tokens + rows


def test_evaluation_windows_hold_no_more_outputs_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "EVALUATION_OUTPUTS", 6 * VOCABULARY * 5 + 1)
    monkeypatch.setattr(evaluation, "EVALUATION_LEAD", 40)
    seen: list[int] = []

    class Counted(ToyTokens):
        def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
            seen.append(output.numel())
            return super().loss(output, batch)

    task = Counted(rows=5)
    evaluate(ema(), task, task.load("test", SEEDS, {}), CPU)
    assert max(seen) == 6 * VOCABULARY * 5


def test_evaluation_windows_hold_no_more_tokens_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "EVALUATION_TOKENS", 23)
    monkeypatch.setattr(evaluation, "EVALUATION_LEAD", 40)
    seen: list[tuple[int, ...]] = []

    class Counted(ToyTokens):
        def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
            seen.append(tuple(output.shape[:2]))
            return super().loss(output, batch)

    task = Counted(rows=5)
    evaluate(ema(), task, task.load("test", SEEDS, {}), CPU)
    assert set(seen[:-1]) == {(5, 4)}


# One target a sequence.


def test_last_step_of_ragged_tokens_is_read_where_each_sequence_has_one_target() -> None:
    lengths = torch.tensor([3, 1, 5])
    tokens = torch.tensor([1, 2, 3, 4, 5, 6, 1, 2, 3])
    data = Ragged(tokens, torch.tensor([4, 5, 6]), lengths, last=True)
    net, task = ema().double(), ToyTokens()
    expected = 0.0
    for part, target in zip(torch.split(tokens, lengths.tolist()), data.targets, strict=True):
        expected += F.cross_entropy(net.eval()(part[None])[0, -1], target).item()
    assert evaluate(net, task, data, CPU)["bits"] == pytest.approx(expected / 3 / math.log(2), rel=1e-12)
    batch = next(evaluation_batches(data, batch_size=3, device=CPU))
    assert batch.last
    assert batch.mask is None
    assert batch.targets.tolist() == [5, 4, 6]


def test_ragged_with_another_number_of_last_targets_is_refused() -> None:
    with pytest.raises(ValueError, match="3 inputs, 3 targets, lengths that sum to 3"):
        Ragged(torch.zeros(3), torch.zeros(3), torch.tensor([2, 1]), last=True)


# Training.


def run_of(
    task: ToyTokens, net: Network, updates: int = 40, batch_size: int = 4, evaluate_every: int = 11, **settings: Any
) -> TrainingRun:
    return TrainingRun(
        net,
        task,
        training=Training(updates=updates, batch_size=batch_size, evaluate_every=evaluate_every),
        optimisation=Optimisation(**{"learning_rate": 0.02, **settings}),
        data=TrainingData(task.load("train", SEEDS, {}), task.load("validation", SEEDS, {})),
        seeds=SEEDS,
    )


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("reading", ["carry", "window"])
@pytest.mark.parametrize("stop", [1, 4, 9, 11, 20])
def test_run_restored_in_an_epoch_equals_an_uninterrupted_one(
    tmp_path: Path, reading: Literal["carry", "window"], stop: int
) -> None:
    task = ToyTokens(reading=reading, history=4)
    whole = run_of(task, ema(dropout=0.2))
    while whole.outcome is None:
        whole.advance(1e9)
    first = run_of(task, ema(dropout=0.2))
    while first.update < stop:
        first.advance(0)
    checkpoint.save(tmp_path / "a.pt", first.state(), trial="t")
    second = run_of(task, ema(seed=5, dropout=0.2))
    second.restore(checkpoint.load(tmp_path / "a.pt", trial="t"))
    while second.outcome is None:
        second.advance(0)
    assert same(whole.network.state_dict(), second.network.state_dict())
    assert [point.metrics for point in whole.points] == [point.metrics for point in second.points]
    assert [point.train_loss for point in whole.points] == [point.train_loss for point in second.points]


def test_carried_state_is_that_after_all_windows_so_far_and_starts_anew_with_an_epoch() -> None:
    task = ToyTokens()
    data = task.load("train", SEEDS, {})
    assert isinstance(data, Stream)
    net = ema()
    run = run_of(task, net, learning_rate=1e-30)  # the weights stay, so that one pass can say what was carried
    inputs = torch.cat([torch.tensor([BEFORE]), data.tokens.long()])[:-1]
    rows = inputs[: 3 * 83].reshape(3, 83)  # 331 tokens in four rows: three of 83 and one of 82
    for update in range(1, 12):
        run.advance(0)
        steps = (update - 1) % 9 * 10 + 10
        if steps <= 80:
            with torch.no_grad():
                _, expected = net.scan(rows[:, :steps])
            torch.testing.assert_close(run.state()["carried"][:3], expected)
    assert not run.state()["carried"].requires_grad


def test_training_loss_of_a_carried_state_is_that_of_one_pass() -> None:
    losses = {}
    for reading in ("carry", "window"):
        task = ToyTokens(scored=1, history=0, reading=reading)
        run = run_of(
            task, ema().double(), updates=task.tokens, batch_size=1, evaluate_every=task.tokens, learning_rate=1e-30
        )
        while run.outcome is None:
            run.advance(1e9)
        losses[reading] = run.points[0].train_loss
    data = ToyTokens().load("train", SEEDS, {})
    assert isinstance(data, Stream)
    assert losses["carry"] == pytest.approx(whole_pass(ema(), data), rel=1e-9)
    assert losses["window"] != pytest.approx(whole_pass(ema(), data), rel=1e-4)


def test_gradient_of_a_window_is_of_its_scored_tokens_alone() -> None:
    task = ToyTokens(reading="window", history=6, scored=5)
    net = stack(2).double()
    data = task.load("train", SEEDS, {})
    batch = training_batches(data, batch_size=2, order_seed=0, device=CPU).at(3)
    output, state = evaluation.outputs(net, "each", batch)
    assert state is None
    assert output.shape == (2, 5, VOCABULARY)
    torch.testing.assert_close(output, net(batch.inputs)[:, -5:])


def test_training_lowers_perplexity_below_that_of_a_guess() -> None:
    for task in (ToyTokens(tokens=2000), ToyTokens(tokens=2000, reading="window", history=3)):
        run = run_of(task, stack(3) if task.reading == "window" else ema(), updates=250)
        while run.outcome is None:
            run.advance(1e9)
        assert run.points[-1].metrics["perplexity"] < 0.9 * VOCABULARY


def test_tied_network_begins_near_the_guess_of_all_tokens_alike() -> None:
    vocabulary, embedding = 1000, 600
    signature = Signature(Tokens(vocabulary, embedding), Classes(vocabulary), length=10, readout="each", tied=True)
    torch.manual_seed(0)
    net = build_network(ToyEma(), signature, (embedding,), {})
    tokens = torch.randint(vocabulary, (4, 50))
    with torch.no_grad():
        nats = F.cross_entropy(net(tokens).flatten(0, 1), tokens.roll(-1, 1).flatten())
    assert float(nats) == pytest.approx(math.log(vocabulary), rel=0.05)


# The plan.


@pytest.fixture
def registry(toy_registry: Registry) -> Registry:
    toys = next(iter(toy_registry.tasks.values())).plugin
    entries = {
        task.name: Entry[type[Task]](task.name, task, toys, "tests.test_streams") for task in (ToyTokens, ToyReread)
    }
    return replace(toy_registry, tasks={**toy_registry.tasks, **entries})


def test_plan_leaves_out_a_model_without_scan_where_state_is_carried(
    registry: Registry, toy_study: Callable[..., Study]
) -> None:
    study = toy_study(
        models=["toy-ema", "toy-stack"],
        tasks=[
            {"name": "toy-tokens", "parameters": 161, "reading": reading, "as": reading}
            for reading in ("carry", "window")
        ],
    )
    plan = make_plan(study, registry)
    assert [str(cell.cell) for cell in plan.cells] == ["carry/toy-ema", "window/toy-ema", "window/toy-stack"]
    assert [str(cell.cell) for cell in plan.left_out] == ["carry/toy-stack"]
    assert plan.left_out[0].reason == "toy-tokens carries a state between windows, and toy-stack has no scan"


def test_plan_translates_epochs_by_the_rows_of_a_stream(registry: Registry, toy_study: Callable[..., Study]) -> None:
    study = toy_study(
        tasks=[{"name": "toy-tokens", "parameters": 161}], training={"epochs": 2, "batch_size": 4, "evaluations": 2}
    )
    (cell,) = make_plan(study, registry).cells
    assert cell.training.updates == 18  # 331 tokens in 4 rows of 83 at most: nine windows of ten


def test_offers_scan_is_what_the_backbone_has() -> None:
    signature = ToyTokens().signature()
    assert offers_scan(ToyEma(), signature, {"bias": True, "dropout": 0.0})
    assert not offers_scan(ToyStack(), signature, {"layers": 2, "scale": 1.0, "dropout": 0.0})


# A whole trial.


@pytest.mark.parametrize("reading", ["carry", "window"])
def test_final_trial_taken_over_by_another_worker_ends_as_an_undisturbed_one(
    tmp_path: Path, registry: Registry, toy_study: Callable[..., Study], reading: str
) -> None:
    study = toy_study(
        tasks=[{"name": "toy-reread", "parameters": 161, "reading": reading, "history": 5}],
        training={"updates": 30, "batch_size": 4, "evaluations": 3},
    )
    (cell,) = make_plan(study, registry).cells
    search = CellState(Proposer(cell, seed=0), study_id="id").search_trial(0)
    final = search.model_copy(update={"phase": "final", "repetition": 0, "winner": search.key, "draw": None})
    whole = Worker(tmp_path / "one", registry).start(final, 1).advance(1e9).result
    first = Worker(tmp_path / "two", registry).start(final, 1)
    for _ in range(14):
        first.advance(0)
    first.save()
    taken_over = Worker(tmp_path / "two", registry).start(final, 2).advance(1e9).result
    assert whole is not None
    assert taken_over is not None
    assert whole.outcome == taken_over.outcome == "complete"
    assert whole.metrics == taken_over.metrics
    assert whole.weights_sha256 == taken_over.weights_sha256
    for scores in (whole.metrics["test"], whole.metrics["test-last3"]):
        assert set(scores) == {"perplexity", "bits", "perplexity-part", "bits-part"}
        assert scores["perplexity-part"] != pytest.approx(scores["perplexity"], rel=1e-4)
    assert whole.metrics["test"]["perplexity-part"] == pytest.approx(2 ** whole.metrics["test"]["bits-part"])
    assert set(whole.metrics["validation"]) == {"perplexity", "bits"}


def test_embedding_dropout_of_a_trial_reaches_its_network(
    tmp_path: Path, registry: Registry, toy_study: Callable[..., Study]
) -> None:
    study = toy_study(tasks=[{"name": "toy-tokens", "parameters": 161}], training={"updates": 6, "batch_size": 4})
    (cell,) = make_plan(study, registry).cells
    search = CellState(Proposer(cell, seed=0), study_id="id").search_trial(0)
    worker = Worker(tmp_path, registry)
    losses = {}
    for number, share in enumerate((None, 0.5)):
        changes = {"embedding_dropout": share, "number": number, "build": {**search.build, "dropout": 0.0}}
        active = worker.start(search.model_copy(update=changes), 1)
        losses[share] = [point.train_loss for point in active.advance(1e9).points]
        assert active.run is not None
        dropout = active.run.network.embedding_dropout
        assert (dropout.p if isinstance(dropout, nn.Dropout) else None) == share
    assert losses[None] != losses[0.5]


@settings(max_examples=30, deadline=None)
@given(tokens=st.integers(1, 60), rows=st.integers(1, 8), scored=st.integers(1, 20), history=st.integers(0, 30))
def test_windows_never_reach_before_their_row(tokens: int, rows: int, scored: int, history: int) -> None:
    rows = min(rows, tokens)
    data = Stream(torch.arange(tokens), before=tokens, scored=1, history=None)
    batches = StreamBatches(data, rows=rows, scored=scored, history=history, device=CPU)
    firsts = batches.at(0).inputs[:, 0]
    for batch in batches:
        expected = torch.where(firsts == tokens, 0, firsts + 1)  # the place of a row's first target
        places = torch.where(batch.inputs == tokens, 0, batch.inputs + 1)
        assert bool((places >= expected[:, None]).all())
