"""The works that are timed: each task's published setting, its batches, and one update with the harness's parts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from harness.api.dataset import Arrays, Batch
from harness.api.model import Model, Published
from harness.api.signature import Signature
from harness.api.task import Task
from harness.data.files import locate
from harness.records import Optimisation
from harness.seeds import Seeds
from harness.study.budget import solve
from harness.training.batches import TrainingBatches
from harness.training.evaluation import first_total, outputs
from harness.training.network import Network, build_network
from harness.training.optimizers import make_optimizer
from harness.training.random_state import seed_everything
from harness_models.dropout import Dropout
from harness_models.recurrent import Gru, Lstm, Rnn
from harness_models.tcn import Tcn
from harness_tasks.adding import Adding
from harness_tasks.copy_memory import CopyMemory
from harness_tasks.music import JsbChorales, Nottingham
from harness_tasks.penn_treebank import PtbChar, PtbWord
from harness_tasks.pixel_mnist import SequentialMnist
from reference import default_optimizer

CPU = torch.device("cpu")
SEEDS = Seeds.of(0, 0)
MODELS: Mapping[str, Model] = {model.name: model for model in (Tcn(), Lstm(), Gru(), Rnn())}
TOLERANCE = 0.05
"""Tolerance of solved widths: the speed is measured at about the published size."""

Read = Callable[[Network, Task, Batch], Tensor]
"""Computes outputs: (batch, n) or (batch, time, n)."""


@dataclass(frozen=True)
class Work:
    """A task at its published setting, and the batches of one round."""

    name: str
    task: Task
    batches: Sequence[Batch]
    setting: Published
    """Optimisation and size of the published TCN."""
    device: torch.device = CPU
    """Device of the batches and the networks."""

    def on(self, device: torch.device) -> Work:
        """Return the same work with its batches on a device."""
        return replace(self, batches=[_moved(batch, device) for batch in self.batches], device=device)

    @property
    def last(self) -> bool:
        return self.task.signature().readout == "last"

    @property
    def signature(self) -> Signature:
        return self.task.signature().with_embedding(self.setting.embedding)

    @property
    def dropout(self) -> float:
        return cast(float, self.setting.params["dropout"])

    @property
    def optimisation(self) -> Optimisation:
        return self.setting.optimisation

    def network(self, model: str = "tcn") -> Network:
        """Return a network with seeded initial weights and element dropout, as in the released code."""
        seed_everything(SEEDS.init)
        if model == "tcn":
            params = {**self.setting.params, "dropout_kind": "element"}
            return build_network(MODELS[model], self.signature, self.setting.widths, params).to(self.device)
        layers = self._published_layers()
        params = {"layers": layers, "dropout": 0.0}
        budget = cast(int, cast(Any, self.task.published()).parameters)
        size = solve(MODELS[model], self.signature, params, budget=budget, tolerance=TOLERANCE)
        return build_network(MODELS[model], self.signature, size.widths, params).to(self.device)

    def _published_layers(self) -> int:
        lstm = MODELS["lstm"].published(self.task.row())
        return 1 if lstm is None else len(lstm.widths)


def _moved(batch: Batch, device: torch.device) -> Batch:
    lengths = None if batch.lengths is None else batch.lengths.to(device)
    return replace(batch, inputs=batch.inputs.to(device), targets=batch.targets.to(device), lengths=lengths)


class HarnessStep:
    """An update with the harness's parts, without its training loop."""

    def __init__(
        self,
        network: Network,
        task: Task,
        optimisation: Optimisation,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        read: Read | None = None,
    ) -> None:
        self.network = network.train()
        self._task = task
        self._readout = task.signature().readout
        self._optimisation = optimisation
        self._optimizer = optimizer or make_optimizer(network, optimisation)
        self._read = read

    def __call__(self, batch: Batch) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        if self._read is None:
            output, _ = outputs(self.network, self._readout, batch)
        else:
            output = self._read(self.network, self._task, batch)
        primary = first_total(self._task.loss(output, batch))
        loss = primary.sum if self._optimisation.reduction == "sum" else primary.sum / primary.count
        loss.backward()  # type: ignore[no-untyped-call]
        if self._optimisation.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self._optimisation.clip)
        self._optimizer.step()


def over(step: Callable[[Batch], object], batches: Sequence[Batch]) -> Callable[[], None]:
    """Return a function that runs one round: a step on each batch."""

    def run() -> None:
        for batch in batches:
            step(batch)

    return run


def computing_all(network: Network, task: Task, batch: Batch) -> Tensor:
    """Compute every position of the backbone; decode only the scored ones."""
    hidden = network.backbone(network.encoder(batch.inputs))
    return network.decode(_scored(hidden, task, batch))


def decoding_all(network: Network, task: Task, batch: Batch) -> Tensor:
    """Compute and decode every position of the backbone."""
    return _scored(network(batch.inputs), task, batch)


def _scored(steps: Tensor, task: Task, batch: Batch) -> Tensor:
    if task.signature().readout == "last":
        return steps[:, -1]
    return steps if batch.scored is None else steps[:, -batch.scored :]


def ways(work: Work) -> dict[str, HarnessStep]:
    """Return the harness's step, and the same with one part replaced by the released one, by the name of the part.

    `decoding` also computes all positions, so it is compared with `positions`.
    """
    task, optimisation = work.task, work.optimisation
    sides = {"ours": HarnessStep(work.network(), task, optimisation)}
    network = work.network()
    sides["optimiser"] = HarnessStep(network, task, optimisation, optimizer=default_optimizer(network, optimisation))
    if work.dropout > 0:
        sides["dropout"] = HarnessStep(with_plain_dropout(work.network()), task, optimisation)
    if work.last or work.batches[0].scored is not None:
        sides["positions"] = HarnessStep(work.network(), task, optimisation, read=computing_all)
        sides["decoding"] = HarnessStep(work.network(), task, optimisation, read=decoding_all)
    return sides


def with_plain_dropout(network: Network) -> Network:
    """Return the network with `nn.Dropout` instead of ours."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Dropout):
                setattr(module, name, nn.Dropout(child.probability))
    return network


def _setting(task: Task) -> Published:
    setting = MODELS["tcn"].published(task.row())
    assert setting is not None
    return setting


def adding() -> Work:
    task = Adding(length=600, sequences=32)
    return Work("adding", task, _first(task), _setting(Adding(length=600)))


def mnist() -> Work:
    """Return random pixels, with dropout 0.05: the released code's default, because Table 2 has none."""
    task = SequentialMnist()
    setting = _setting(task)
    setting = Published(**{**vars(setting), "params": {**setting.params, "dropout": 0.05}})
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(setting.batch_size, 784, 1, generator=generator)
    return Work("mnist", task, [Batch(pixels, torch.randint(10, (setting.batch_size,), generator=generator))], setting)


def copy_memory() -> Work:
    task = CopyMemory(length=1000, sequences=32)
    return Work("copy", task, _first(task), _setting(CopyMemory(length=1000)))


def music(name: Literal["jsb", "nottingham"], batch_size: int, every: int = 1) -> Work:
    """Return one of every `every` batches of an epoch."""
    task = JsbChorales() if name == "jsb" else Nottingham()
    data = task.load("train", SEEDS, {file.name: locate(file) for file in task.files()})
    batches = TrainingBatches(data, batch_size=batch_size, order_seed=SEEDS.order, device=CPU)
    chosen = [batches.at(update) for update in range(0, batches.per_epoch, every)]
    return Work(f"{name}-{batch_size}", task, chosen, _setting(task))


def one_by_one(work: Work) -> Work:
    """Return the same pieces in batches of one."""
    return replace(work, batches=[piece for batch in work.batches for piece in _pieces(batch)])


def _pieces(batch: Batch) -> list[Batch]:
    whole = batch.targets.shape[1]
    lengths = [whole] * len(batch.targets) if batch.lengths is None else batch.lengths.tolist()
    return [
        Batch(batch.inputs[i : i + 1, :length], batch.targets[i : i + 1, :length]) for i, length in enumerate(lengths)
    ]


def word() -> Work:
    """Return random words in windows of 80; 40 of them are scored."""
    return _language("word", PtbWord(reading="window", scored=40, history=40))


def char() -> Work:
    """Return random characters in windows of 400; 320 of them are scored."""
    return _language("char", PtbChar(reading="window", scored=320, history=80))


def _language(name: str, task: PtbWord | PtbChar) -> Work:
    setting = _setting(task)
    generator = torch.Generator().manual_seed(0)
    shape = (setting.batch_size, task.history + task.scored + 1)
    tokens = torch.randint(task.vocabulary(), shape, generator=generator)
    batch = Batch(tokens[:, :-1], tokens[:, 1 + task.history :], scored=task.scored)
    return Work(name, task, [batch], setting)


def _first(task: Adding | CopyMemory) -> list[Batch]:
    data = task.load("train", SEEDS, {})
    assert isinstance(data, Arrays)
    return [Batch(data.inputs, data.targets)]
