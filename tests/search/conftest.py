from __future__ import annotations

from typing import Any

import pytest

from harness.plugin.registry import Registry
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.study.plan import make_plan
from tests.conftest import MakeStudy
from tests.support.trials import MakeStates


@pytest.fixture
def states_of(toy_registry: Registry, toy_study: MakeStudy) -> MakeStates:
    """Top-level keys of a study file that replace the toys' → the states of its cells, without trials."""

    def make(**overrides: Any) -> list[CellState]:
        study = toy_study(**overrides)
        search = study.search
        return [
            CellState(Proposer(plan, seed=search.seed), study_id="s") for plan in make_plan(study, toy_registry).cells
        ]

    return make
