from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.plugin.loader import Loaded
from harness.recommendation import predictor
from harness.recommendation.result import Recommendation
from harness.recommendation.state import RecommendRequest
from harness.study.file import parse_study
from harness.study.plan import make_plan
from tests.conftest import MakeStudy
from tests.support.races import TABLES, Place


@pytest.fixture
def toy_request(toy_study: MakeStudy, toy_loaded: Loaded) -> RecommendRequest:
    """A small race of two toys."""
    return RecommendRequest(make_plan(toy_study(**TABLES), toy_loaded.registry))


@pytest.fixture
def place(tmp_path: Path, toy_loaded: Loaded) -> Place:
    return Place(tmp_path, toy_loaded)


@pytest.fixture(scope="session")
def finished_race(tmp_path_factory: pytest.TempPathFactory, toy_loaded: Loaded) -> tuple[Place, Recommendation]:
    """A race whose models learn; tests must not change it."""
    tables = {**TABLES, "training": {"updates": 300, "batch_size": 8, "evaluations": 2}}
    tasks = [{"name": "toy-sum", "parameters": 161}]
    place = Place(tmp_path_factory.mktemp("raced"), toy_loaded)
    study = parse_study({"name": "toys", "tasks": tasks, **tables}, source="toys.toml")
    return place, place.race(place.request(study))


@pytest.fixture
def raced(
    finished_race: tuple[Place, Recommendation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Place, Recommendation]:
    """A copy of the finished race, which a test may damage."""
    place, recommendation = finished_race
    monkeypatch.setattr(predictor, "load_plugins", lambda: place.loaded)
    shutil.copytree(place.runs, tmp_path / "copy")
    return replace(place, runs=tmp_path / "copy"), recommendation
