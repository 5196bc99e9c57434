"""`harness check` and `harness new`, as a user types them."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from harness import Signature
from harness.cli.actions import check, new
from harness.plugin.loader import load_plugins
from harness.testing import check_causality, check_no_state, check_output_shape
from tests.support.command import run_command
from tests.support.toys import ToyEma


@pytest.fixture(autouse=True)
def _only_toys_and_planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    modules = {"toys": "tests.support.toys", "registered": "tests.testing.registered"}
    points = [EntryPoint(name=name, value=module, group="harness") for name, module in modules.items()]
    monkeypatch.setattr(check, "load_with_messages", lambda: load_plugins(points))
    monkeypatch.chdir(tmp_path)


def test_check_of_a_sound_task_exits_0(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(monkeypatch, "check", "toy-sum", "length=9", "sequences=1000") == 0
    shown = capsys.readouterr().out
    assert "toy-sum-length-9-sequences-1000" in shown
    assert "check_floor" in shown
    assert "12 checks of toy-sum-length-9-sequences-1000: none failed" in shown


def test_check_of_a_package_with_a_defect_exits_1_and_says_what(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "check", "registered") == 1
    shown = capsys.readouterr().out
    assert "FAILED" in shown
    assert "training_sequences() is 1,000" in shown
    assert "1 failed" in shown
    assert run_command(monkeypatch, "check", "registered", "--expect", "check_epoch=as the paper states it") == 0
    assert "failed as expected" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("toy-smu",), "no model, task, sampler or package 'toy-smu' is installed; did you mean 'toy-sum'?"),
        (("toy-sum", "lenght=3"), "has no option 'lenght'; did you mean 'length'?"),
        (("toys", "length=3"), "'length' can be given to one model or one task, and 'toys' is something else"),
        (("toy-sum", "length=[3]"), "'length' takes one value, got a list"),
        (("toy-sum", "--expect", "check_floor"), "give a check and why it fails"),
        (("toy-sum", "--expect", "check_flor=x"), "unknown check 'check_flor'; did you mean 'check_floor'?"),
    ],
)
def test_usage_error_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert run_command(monkeypatch, "check", *arguments) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.strip().splitlines()) == 1


def test_common_cause_of_several_failures_is_printed_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Raises(ToyEma):
        def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
            raise ZeroDivisionError("a planted raise")

    loaded = load_plugins([EntryPoint(name="toys", value="tests.support.toys", group="harness")])
    ema = loaded.registry.models["toy-ema"]
    raises = replace(loaded.registry, models={"toy-ema": replace(ema, value=Raises())})
    monkeypatch.setattr(check, "load_with_messages", lambda: replace(loaded, registry=raises))
    monkeypatch.setattr(check, "MODEL_CHECKS", (check_output_shape, check_causality, check_no_state))
    assert run_command(monkeypatch, "check", "toy-ema") == 1
    shown = capsys.readouterr().out
    assert shown.count("a planted raise (test_check_command.py:") == 1
    assert shown.count("the same as check_output_shape") == 2
    assert "3 failed; begin with check_output_shape, which may be the cause of the others" in shown


def test_new_prints_the_next_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(monkeypatch, "new", "model", "my-net") == 0
    shown = capsys.readouterr().out
    assert "pip install -e my-net" in shown
    assert "harness check my-net" in shown
    assert "harness run my-net/study.toml" in shown
    assert Path("my-net", "src", "my_net", "model.py").exists()
    assert run_command(monkeypatch, "new", "model", "my-net") == 2
    assert "already exists" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["toy-ema", "toy-sum"])
def test_new_under_the_name_of_an_installed_model_or_task_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    points = [EntryPoint(name="toys", value="tests.support.toys", group="harness")]
    monkeypatch.setattr(new, "load_plugins", lambda: load_plugins(points))
    assert run_command(monkeypatch, "new", "model", name) == 2
    assert f"'{name}' is taken: toys provides it (tests.support.toys:Toy" in capsys.readouterr().err
    assert not Path(name).exists()
