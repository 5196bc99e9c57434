"""Loading of plugins from entry points, and the hooks that the core calls."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
from optuna.distributions import FloatDistribution

from harness.api.sampler import Draw
from harness.errors import PluginError
from harness.execution.runner import Runner
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.ledger.ledger import Ledger
from harness.plugin import hookspecs
from harness.plugin.hookspecs import hookimpl
from harness.plugin.loader import DISABLE, GROUP, Loaded, load_plugins, register_listener
from harness.records import Point, Trial, TrialResult
from harness.samplers import CORE_SAMPLERS
from harness.search.suggestion import suggest
from harness.study.plan import make_plan
from harness.study.schema import Study
from tests.conftest import MakeStudy

HOOKS = [name for name in vars(hookspecs) if name.startswith("harness_")]
TOYS = Path(__file__).parents[1] / "support" / "toys.py"

HEADER = """\
from harness import Model, hookimpl
from torch import nn


class One(Model):
    name = "NAME"

    def space(self, signature):
        return {}

    def build(self, signature, widths, **params):
        return nn.Identity()


"""
SPACE = {"zoom": FloatDistribution(0, 1)}
REGISTERS = HEADER + "@hookimpl\ndef harness_register_models(register):\n    register(One())\n"

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that writes a module and the dist-info folder of a distribution with that entry point."""
    monkeypatch.delenv(DISABLE, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    numbers = iter(range(100))

    def make(distribution: str, source: str, *, version: str = "1.0", entry: str = "", metadata: bool = True) -> None:
        module = f"strange_{tmp_path.name.replace('-', '_')}_{next(numbers)}"
        (tmp_path / f"{module}.py").write_text(source)
        folder = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        if metadata:
            text = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
            (folder / "METADATA").write_text(text)
        (folder / "entry_points.txt").write_text(f"[harness]\nany = {module}{entry}\n")

    return make


def _load() -> Loaded:
    """Load what this test installed, without the plugins of the environment."""
    return load_plugins(point for point in entry_points(group=GROUP) if point.module.startswith("strange_"))


def _source(name: str) -> str:
    return REGISTERS.replace("NAME", name)


def test_installed_entry_point_registers_with_its_version(install: Install) -> None:
    install("x-good", _source("x-one"), version="2.3")
    entry = load_plugins().registry.model("x-one")
    assert (entry.plugin.name, entry.plugin.version) == ("x-good", "2.3")
    assert entry.origin.endswith(":One")


BROKEN = {
    "import": ("import no_such_module\n", r"ModuleNotFoundError: No module named 'no_such_module'"),
    "syntax": ("def\n", r"SyntaxError: "),
    "exit": ("raise SystemExit('needs CUDA')\n", r"SystemExit: needs CUDA"),
    "raises": ("raise RuntimeError('first line\\nsecond')\n", r"RuntimeError: first line"),
    "registration": (
        HEADER + "@hookimpl\ndef harness_register_models(register):\n    register(One())\n    raise KeyError('x')\n",
        r"KeyError: 'x'",
    ),
    "exit at registration": (
        HEADER + "@hookimpl\ndef harness_register_models(register):\n    raise SystemExit(3)\n",
        r"SystemExit: 3",
    ),
    "class": (
        HEADER + "@hookimpl\ndef harness_register_models(register):\n    register(One)\n",
        r"PluginError: register takes an instance of harness\.Model, got <class",
    ),
    "instance of a task": (
        HEADER + "@hookimpl\ndef harness_register_tasks(register):\n    register(One())\n",
        r"PluginError: register takes a subclass of harness\.Task, not an instance, got <",
    ),
    "sampler that is not made for each draw": (
        HEADER
        + "from optuna.samplers import RandomSampler\n"
        + "@hookimpl\ndef harness_register_samplers(register):\n    register('one', RandomSampler(0))\n",
        r"PluginError: register takes a name and a function that makes a sampler for each draw, got <",
    ),
    "name of a sampler": (
        HEADER + "@hookimpl\ndef harness_register_samplers(register):\n    register('My_TPE', print)\n",
        r"PluginError: builtins:print has the name 'My_TPE'; a name may .*; did you mean 'my-tpe'\?",
    ),
    "twice": (REGISTERS + "    register(One())\n", r"PluginError: 'x-bad' is registered twice; register it once"),
    "name": (
        REGISTERS.replace("NAME", "X Bad/.."),
        r"PluginError: strange_\w+:One has the name 'X Bad/\.\.'; a name may contain only a-z, 0-9, '\.' and '-'; "
        r"did you mean 'x-bad-\.\.'\?",
    ),
    "name of a class": (REGISTERS.replace("NAME", "MyNet_2"), r"PluginError: .*; did you mean 'my-net-2'\?"),
    "no name": (
        REGISTERS.replace('name = "NAME"', ""),
        r"PluginError: One has no name; add a class attribute, such as name = 'my-name'",
    ),
    "hooks that are not marked": (
        REGISTERS.replace("@hookimpl\n", ""),
        r"PluginError: 'strange_\w+', named by the entry point 'any', has no function marked @harness\.hookimpl",
    ),
    "abstract": (
        REGISTERS.replace("def build", "def biuld"),
        r"TypeError: Can't instantiate abstract class One with abstract method build",
    ),
    "misspelt hook": (
        REGISTERS + "\n@hookimpl\ndef harness_trial_strated(trial):\n    pass\n",
        r"PluginError: unknown hook 'harness_trial_strated'; did you mean 'harness_trial_started'\?",
    ),
    "argument of a hook": (
        REGISTERS + "\n@hookimpl\ndef harness_trial_started(trail):\n    pass\n",
        r"PluginValidationError: Plugin 'a-bad' for hook 'harness_trial_started'",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_plugin_affects_no_other(install: Install, kind: str) -> None:
    source, reason = BROKEN[kind]
    install("a-bad", source.replace("NAME", "x-bad"))
    install("x-good", _source("x-one"))
    install("x-more", _source("x-two"))
    loaded = _load()
    assert set(loaded.registry.models) == {"x-one", "x-two"}
    (message,) = loaded.registry.messages
    assert re.match(rf"plugin a-bad 1\.0 could not be loaded \({reason}.*\); what it registers is missing\. ", message)
    assert message.endswith(f"Fix it, uninstall it, or set {DISABLE}=a-bad")
    assert "\n" not in message
    assert not loaded.hooks.has_plugin("a-bad")
    assert "a-bad" not in {plugin.name for plugin in loaded.registry.plugins}


def test_broken_plugins_hooks_are_never_called(install: Install, tmp_path: Path) -> None:
    """The plugin has two valid hooks and one with a wrong argument."""
    wrong = "\n@hookimpl\ndef harness_trial_reported(pont):\n    pass\n"
    called = "\n@hookimpl\ndef harness_study_finished(study):\n    raise AssertionError('called')\n"
    install("a-bad", _source("x-bad") + called + wrong)
    loaded = _load()
    loaded.hooks.hook.harness_study_finished(study=None, study_id="", complete=True)
    assert set(loaded.registry.models) == set()


def test_entry_point_may_be_an_object_that_cannot_be_hashed(install: Install) -> None:
    body = REGISTERS.replace("def harness_register_models(register)", "def harness_register_models(self, register)")
    hook = body[body.index("@hookimpl") :].replace("\n", "\n    ")
    holder = f"class Holder:\n    __hash__ = None\n    {hook}\nplugin = Holder()\n"
    install("x-a", (HEADER + holder).replace("NAME", "x-one"), entry=":plugin")
    install("x-b", _source("x-two"))
    loaded = _load()
    assert loaded.registry.messages == ()
    assert set(loaded.registry.models) == {"x-one", "x-two"}


def test_distribution_without_metadata_has_the_name_of_its_entry_point(install: Install) -> None:
    install("x-removed", _source("x-one"), metadata=False)
    install("x-good", _source("x-two"))
    loaded = _load()
    assert set(loaded.registry.models) == {"x-one", "x-two"}
    assert (loaded.registry.model("x-one").plugin.name, loaded.registry.model("x-one").plugin.version) == (
        "any",
        "unknown",
    )


def test_two_plugins_of_one_model_are_rejected_by_name(install: Install) -> None:
    install("x-b", _source("x-one"), version="2.0")
    install("x-a", _source("x-one"), version="1.0")
    message = rf"^model 'x-one' is registered by x-a 1\.0 and by x-b 2\.0; uninstall one of them, or set {DISABLE}=x-b$"
    with pytest.raises(PluginError, match=message):
        _load()


def test_two_plugins_of_one_task_are_rejected_by_name(install: Install) -> None:
    source = TOYS.read_text().replace("register(ToyEma())\n    register(ToyStack())", "return")
    for name in ("x-a", "x-b"):
        install(name, source)
    with pytest.raises(PluginError, match=r"^task 'toy-sum' is registered by x-a 1\.0 and by x-b 1\.0; uninstall one"):
        _load()


@pytest.mark.parametrize("spelling", ["x-b", " x-b ", "X_B", "nothing, x.b"])
def test_disabled_plugin_is_not_imported(install: Install, monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    install("x-a", _source("x-one"))
    install("x-b", "raise AssertionError('imported')\n")
    monkeypatch.setenv(DISABLE, spelling)
    loaded = _load()
    assert set(loaded.registry.models) == {"x-one"}
    assert loaded.registry.messages == ()
    assert "x-b" not in {plugin.name for plugin in loaded.registry.plugins}


def test_disabling_resolves_a_conflict(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("x-a", _source("x-one"))
    install("x-b", _source("x-one"))
    monkeypatch.setenv(DISABLE, "x-a")
    assert _load().registry.model("x-one").plugin.name == "x-b"


def test_plugins_load_in_the_order_of_their_names(install: Install) -> None:
    for name in ("x-c", "x-a", "x-b"):
        install(name, _source(f"{name}-model"))
    names = [plugin.name for plugin in _load().registry.plugins]
    assert names == sorted(names)
    assert {"x-a", "x-b", "x-c"} <= set(names)


def test_another_process_loads_the_same_plugins(install: Install, tmp_path: Path) -> None:
    shutil.copy(TOYS, tmp_path / "toys.py")
    install("x-toys", "from toys import *\n")
    script = (
        "from harness.plugin.loader import load_plugins; registry = load_plugins().registry; "
        "print([registry.task('toy-sum').plugin.name, *(name for name in registry.models if 'toy' in name)])"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "['x-toys', 'toy-ema', 'toy-stack']"


# Hooks: each has a `test_hook_<name>`


def test_every_hook_has_a_test() -> None:
    assert len(HOOKS) == 9
    assert [name for name in HOOKS if f"test_hook_{name}" not in globals()] == []


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_documents_when_it_is_called(name: str) -> None:
    spec = getattr(hookspecs, name)
    summary, *_, last = (inspect.getdoc(spec) or "").split("\n\n")
    assert summary.endswith(".")
    assert last.startswith("Called ")
    assert all(parameter.annotation is not parameter.empty for parameter in inspect.signature(spec).parameters.values())


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_has_one_caller_in_the_core(name: str) -> None:
    folder = Path(hookspecs.__file__).parents[1]
    callers = [
        path.name
        for path in folder.rglob("*.py")
        if path.name not in {"hookspecs.py"}
        and re.search(rf"hook\.{name}\(|call_hook\(\s*\"{name}\"", path.read_text())
    ]
    assert callers == (["loader.py"] if "register" in name else ["runner.py" if "study" in name else "controller.py"])


def test_hook_harness_register_models(install: Install) -> None:
    install("x-a", _source("x-one") + "    assert register.__self__.plugin.name == 'x-a'\n")
    assert set(_load().registry.models) == {"x-one"}


def test_hook_harness_register_tasks(toy_loaded: Loaded) -> None:
    assert set(toy_loaded.registry.tasks) == {"toy-sum", "toy-ragged"}
    assert set(toy_loaded.registry.models) == {"toy-ema", "toy-stack"}


SAMPLER = (
    HEADER
    + """
from optuna.samplers import RandomSampler

def seventh(draw):
    return RandomSampler(draw.seed // 7)

@hookimpl
def harness_register_samplers(register):
    register("NAME", seventh)
"""
)


def test_hook_harness_register_samplers(install: Install) -> None:
    install("x-samplers", SAMPLER.replace("NAME", "seventh"), version="1.2")
    registry = _load().registry
    entry = registry.sampler("seventh")
    assert (entry.plugin.name, entry.plugin.version) == ("x-samplers", "1.2")
    assert registry.samplers.keys() == {*CORE_SAMPLERS, "seventh"}
    drawn = suggest(entry.value, Draw(seed=70, cell_seed=1, number=0, space=SPACE), ())
    assert drawn == suggest(CORE_SAMPLERS["random"], Draw(seed=10, cell_seed=1, number=0, space=SPACE), ())


def test_sampler_with_the_name_of_one_of_the_core_is_rejected(install: Install) -> None:
    install("x-samplers", SAMPLER.replace("NAME", "tpe"))
    with pytest.raises(PluginError, match=r"^sampler 'tpe' is registered by seqharness .* and by x-samplers 1\.0; "):
        _load()


class Recorder:
    """A listener that records its calls in order, as (hook, facts)."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.calls: list[tuple[str, str]] = []

    @hookimpl
    def harness_study_started(self, study: Study, study_id: str, folder: str) -> None:
        assert (self.ledger.folder, self.ledger.manifest.study_id) == (Path(folder), study_id)
        self.calls.append(("study_started", study.name))

    @hookimpl
    def harness_trial_started(self, trial: Trial, attempt: int) -> None:
        assert self.ledger.entry(trial.key).attempt == attempt == 1
        self.calls.append(("trial_started", f"{trial.phase}/{trial.number}"))

    @hookimpl
    def harness_trial_reported(self, trial: Trial, point: Point) -> None:
        assert self.ledger.entry(trial.key).points[-1] == point
        self.calls.append(("trial_reported", f"{trial.phase}/{trial.number} {point.update}"))

    @hookimpl
    def harness_trial_finished(self, trial: Trial, result: TrialResult) -> None:
        assert self.ledger.entry(trial.key).result == result
        self.calls.append(("trial_finished", f"{trial.phase}/{trial.number} {result.outcome}"))

    @hookimpl
    def harness_study_finished(self, study: Study, study_id: str, complete: bool) -> None:
        self.calls.append(("study_finished", f"{study.name} {complete}"))


@pytest.fixture(scope="module")
def calls(toy_loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Calls of a listener during a study of one search trial and one final trial, with two evaluations each."""
    study = Study.model_validate(
        {
            "name": "toys",
            "models": [{"name": "toy-ema"}],
            "tasks": [{"name": "toy-sum"}],
            "budget": {"trials": 1, "repetitions": 1},
            "training": {"updates": 4, "evaluations": 2},
        }
    )
    runner = Runner(make_plan(study, toy_loaded.registry), toy_loaded, tmp_path_factory.mktemp("runs"))
    listeners: list[Recorder] = []

    def listen(ledger: Ledger) -> list[Recorder]:
        listeners.append(Recorder(ledger))
        return listeners

    runner.run(lambda source: run_serial(source, Worker(runner.folder, toy_loaded.registry)), listen)
    assert runner.messages == []
    return listeners[0].calls


def _of(calls: list[tuple[str, str]], hook: str) -> list[str]:
    return [facts for name, facts in calls if name == hook]


def test_hook_harness_study_started(calls: list[tuple[str, str]]) -> None:
    assert _of(calls, "study_started") == ["toys"]
    assert calls[0][0] == "study_started"


def test_hook_harness_trial_started(calls: list[tuple[str, str]]) -> None:
    assert _of(calls, "trial_started") == ["search/0", "final/0"]


def test_hook_harness_trial_reported(calls: list[tuple[str, str]]) -> None:
    assert _of(calls, "trial_reported") == ["search/0 2", "search/0 4", "final/0 2", "final/0 4"]


def test_hook_harness_trial_paused(toy_loaded: Loaded, toy_study: MakeStudy, tmp_path: Path) -> None:
    """Every trial pauses at the first rung; all but one finish there, and the best trains on."""
    paused: list[tuple[int, int]] = []
    finished: list[tuple[int, str]] = []

    class Listener:
        def __init__(self, ledger: Ledger) -> None:
            self.ledger = ledger

        @hookimpl
        def harness_trial_paused(self, trial: Trial, result: TrialResult) -> None:
            assert self.ledger.entry(trial.key).rungs[-1] == result
            paused.append((trial.number, result.updates))

        @hookimpl
        def harness_trial_finished(self, trial: Trial, result: TrialResult) -> None:
            finished.append((result.updates, result.outcome))

    pruning = {"kind": "successive-halving", "reduction": 2, "minimum_updates": 4}
    study = toy_study(search={"pruning": pruning}, budget={"trials": 2, "repetitions": 1})
    runner = Runner(make_plan(study, toy_loaded.registry), toy_loaded, tmp_path)
    worker = Worker(runner.folder, toy_loaded.registry)
    runner.run(lambda source: run_serial(source, worker), lambda ledger: [Listener(ledger)])
    assert paused == [(0, 4), (1, 4), (2, 4)]
    assert finished == [(4, "pruned"), (4, "pruned"), (8, "complete"), (8, "complete")]


def test_hook_harness_trial_finished(calls: list[tuple[str, str]]) -> None:
    assert _of(calls, "trial_finished") == ["search/0 complete", "final/0 complete"]


def test_hook_harness_study_finished(calls: list[tuple[str, str]]) -> None:
    assert _of(calls, "study_finished") == ["toys True"]
    assert calls[-1][0] == "study_finished"


def test_listener_is_called_until_it_is_unregistered(toy_loaded: Loaded, toy_study: MakeStudy) -> None:
    class Listener:
        calls = 0

        @hookimpl
        def harness_study_finished(self, complete: bool) -> None:
            self.calls += complete

    listener = Listener()
    unregister = register_listener(toy_loaded, listener)
    call = toy_loaded.hooks.hook.harness_study_finished
    call(study=toy_study(), study_id="", complete=True)
    unregister()
    call(study=toy_study(), study_id="", complete=True)
    assert listener.calls == 1


def test_settings_that_an_import_changes_are_restored_and_the_plugin_is_named(install: Install) -> None:
    before = torch.get_default_dtype()
    install("x-double", _source("x-one") + "import torch\ntorch.set_default_dtype(torch.float64)\n")
    for _ in range(2):  # the module is imported once; the message is for each command
        registry = _load().registry
        assert torch.get_default_dtype() == before
        (message,) = registry.messages
        assert re.match(r"plugin x-double 1\.0 changed settings .*: torch default dtype \(torch\.float64\);", message)
        assert "x-one" in registry.models


def test_output_of_an_import_goes_to_standard_error(install: Install, capfd: pytest.CaptureFixture[str]) -> None:
    install("x-loud", _source("x-one") + 'print("Loud 1.0, please cite us")\n')
    _load()
    assert capfd.readouterr() == ("", "Loud 1.0, please cite us\n")
