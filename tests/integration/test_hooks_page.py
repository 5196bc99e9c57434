"""The plugins of docs/hooks.md: the listener hears a study, and the sampler draws its configurations."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from harness.execution.runner import Runner
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.ledger.journal import read_study
from harness.plugin.loader import load_plugins
from harness.search.suggestion import draw_of, suggest
from harness.seeds import derive
from harness.study.plan import make_plan
from harness.testing import check_sampler
from tests.conftest import MakeStudy
from tests.support.documents import ROOT, code_blocks

pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="the core's wheel is tested without the documents")

TOYS = EntryPoint(name="toys", value="tests.support.toys", group="harness")


def test_listener_of_the_page_writes_the_curves_of_every_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy_study: MakeStudy
) -> None:
    pytest.importorskip("tensorboardX")
    module, _ = code_blocks("docs/hooks.md", "python")
    (tmp_path / "harness_tensorboard.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint(name="tensorboard", value="harness_tensorboard:listener", group="harness")
    loaded = load_plugins([TOYS, point])
    assert loaded.registry.messages == ()
    runner = Runner(make_plan(toy_study(), loaded.registry), loaded, tmp_path)
    runner.run(lambda source: run_serial(source, Worker(runner.folder, loaded.registry)))
    sys.modules.pop("harness_tensorboard")
    files = sorted((runner.folder / "tensorboard").rglob("events.out.*"))
    trials = {path.relative_to(runner.folder / "tensorboard").parent.as_posix() for path in files}
    assert trials == {f"toy-sum/toy-ema/{phase}-{number}" for phase in ("search", "final") for number in (0, 1)}
    assert all(b"validation/mse" in path.read_bytes() for path in files)


def test_class_in_the_place_of_an_object_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "listens_as_a_class.py").write_text("class Listener:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint(name="x", value="listens_as_a_class:Listener", group="harness")
    (message,) = load_plugins([point]).registry.messages
    assert "is a class; name an object of it, such as listener = Listener()" in message


def test_sampler_of_the_page_is_registered_checked_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy_study: MakeStudy
) -> None:
    _, module = code_blocks("docs/hooks.md", "python")
    (tmp_path / "patient_sampler.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    loaded = load_plugins([TOYS, EntryPoint(name="patient", value="patient_sampler", group="harness")])
    entry = loaded.registry.sampler("patient-tpe")
    assert [result.reason for result in check_sampler(entry.name, entry.value) if not result.good] == []
    plan = make_plan(toy_study(search={"sampler": "patient-tpe"}), loaded.registry)
    runner = Runner(plan, loaded, tmp_path)
    runner.run(lambda source: run_serial(source, Worker(runner.folder, loaded.registry)))
    space = plan.cells[0].space.dimensions
    seed = derive(plan.study.search.seed, "search", str(plan.cells[0].cell))
    drawn = suggest(entry.value, draw_of(space, cell_seed=seed, number=0), ())
    stored = read_study(runner.folder)
    assert stored.manifest.sampler == "patient-tpe"
    (first,) = [entry.trial for entry in stored.trials if entry.trial.key.endswith("search/0")]
    assert first.params == drawn
    sys.modules.pop("patient_sampler")
