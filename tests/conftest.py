from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any

import pytest
import torch

from harness.plugin.loader import Loaded, load_plugins
from harness.plugin.registry import Registry
from harness.records import Cell, Optimisation, Plugin, TaskRef, Training, Trial
from harness.seeds import Seeds
from harness.study.file import parse_study
from harness.study.schema import Study

MakeStudy = Callable[..., Study]
"""Top-level keys of a study file → the study of the toys with those keys replaced."""


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _no_models_in_mlflow() -> None:
    """Commands store no models, which takes seconds; the tests of them say otherwise."""
    os.environ.setdefault("HARNESS_LOG_MODELS", "0")


@pytest.fixture(scope="session")
def toy_loaded() -> Loaded:
    """The toys as a loaded plugin.  Listeners registered on its hooks must be unregistered again."""
    return load_plugins([EntryPoint(name="toys", value="tests.support.toys", group="harness")])


@pytest.fixture(scope="session")
def toy_registry(toy_loaded: Loaded) -> Registry:
    return toy_loaded.registry


@pytest.fixture
def toy_study() -> MakeStudy:
    """One task, one model, 2 trials and 2 repetitions of 8 updates; any top-level key of a study file replaces."""

    def make(**overrides: Any) -> Study:  # Any: the tables of a study file
        data: dict[str, Any] = {
            "name": "toys",
            "models": ["toy-ema"],
            # Published widths have no budget to be solved from.
            "tasks": [{"name": "toy-sum"} | ({} if overrides.get("protocol") == "paper" else {"parameters": 161})],
            "budget": {"trials": 2, "repetitions": 2},
            "training": {"updates": 8, "batch_size": 8, "evaluations": 2},
            **overrides,
        }
        return parse_study(data, source="toys.toml")

    return make


def make_trial(**changes: object) -> Trial:
    """Return a search trial of a toy with some fields changed; a valid record that no scheduler made."""
    return Trial.model_validate(
        {
            "study": "0123456789ab",
            "cell": Cell(task="toy-sum", model="toy-ema"),
            "phase": "search",
            "number": 3,
            "task": TaskRef(name="toy-sum", options={"length": 5}),
            "model": "toy-ema",
            "params": {"bias": True, "dropout": 0.1, "clip": None},
            "build": {"bias": True, "dropout": 0.1},
            "widths": (7, 6),
            "parameters": 161,
            "optimisation": Optimisation(learning_rate=2e-3),
            "training": Training(updates=8, batch_size=4, evaluate_every=4),
            "seeds": Seeds.of(0, 0),
            "draw": 3,
            "plugins": (Plugin(name="toys", version="1.0"),),
            **changes,
        }
    )
