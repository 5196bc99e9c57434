"""Records of a small study, its ledger, and a full disk."""

from __future__ import annotations

import contextlib
import math
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.ledger.folder import MANIFEST, write_atomically
from harness.ledger.ledger import Ledger
from harness.records import (
    Cell,
    CellFacts,
    Manifest,
    MetricFacts,
    Optimisation,
    Outcome,
    Phase,
    Point,
    TaskRef,
    Training,
    Trial,
    TrialResult,
)
from harness.seeds import Seeds

CELLS = (Cell(task="sum", model="ema"), Cell(task="ragged", model="ema"))


def make_manifest() -> Manifest:
    facts = tuple(
        CellFacts(
            cell=cell,
            task=TaskRef(name=cell.task),
            model=cell.model,
            metric=MetricFacts(name="score", unit="", better="lower" if cell.task == "sum" else "higher"),
            parameters=100,
            trials=3,
            repetitions=2,
            fingerprint={"seed": "0"},
        )
        for cell in CELLS
    )
    return Manifest(study="s", study_id="id", created=1.5, protocol="fair", sampler="random", seed=0, cells=facts)


def make_trial(number: int = 0, phase: Phase = "search", cell: Cell = CELLS[0]) -> Trial:
    return Trial(
        study="id",
        cell=cell,
        phase=phase,
        number=number,
        task=TaskRef(name=cell.task, options={"length": 6}),
        model=cell.model,
        params={"rate": 0.1 + 0.2, "kind": "ä\n\u2028", "clip": None, "bias": True},
        build={"bias": True},
        widths=(3, 4),
        parameters=100,
        optimisation=Optimisation(learning_rate=0.1),
        training=Training(updates=8, batch_size=2, evaluate_every=2),
        seeds=Seeds.of(0, number),
        rejections=("no width",),
    )


def make_point(update: int, *, gradient_norm: float = 1.0) -> Point:
    return Point(
        update=update,
        epoch=update / 3,
        seconds=0.1 * update,
        time=1e9 + update,
        learning_rate=1e-3,
        train_loss=1 / update,
        gradient_norm=gradient_norm,
        metrics={"score": 1 / 3},
    )


def make_result(outcome: Outcome = "complete", score: float | None = 0.25) -> TrialResult:
    return TrialResult(outcome=outcome, score=score, metrics={"test": {"score": math.inf}}, updates=8)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    write_atomically(tmp_path / MANIFEST, make_manifest().model_dump_json())
    return Ledger(tmp_path, make_manifest())


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Simulate a full disk: a write past `size` bytes of a file is cut short (EFBIG, setrlimit(2))."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores SIGXFSZ from its start
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
