from __future__ import annotations

from pathlib import Path

import pytest

from harness.plugin.registry import Registry
from harness.study.plan import make_plan
from tests.conftest import MakeStudy
from tests.support.plans import PlanOf


@pytest.fixture
def plan_of(toy_registry: Registry, toy_study: MakeStudy) -> PlanOf:
    """Top-level keys of a study file that replace those of the toys → the plan of the study."""
    return lambda **overrides: make_plan(toy_study(**overrides), toy_registry)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Path of a study file that does not exist yet."""
    return tmp_path / "s.toml"
