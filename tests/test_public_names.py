"""The public names of `harness`, and what importing them loads."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import harness

HEAVY = ("torch", "ray", "mlflow", "optuna", "pandas", "scipy", "numpy", "pydantic")


def _loaded_after(statement: str) -> set[str]:
    script = f"import sys; {statement}; print(*(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_all_is_sorted_and_without_repetition() -> None:
    assert harness.__all__ == sorted(set(harness.__all__), key=lambda name: (not name.isupper(), name))


def test_dir_is_all() -> None:
    assert dir(harness) == sorted(harness.__all__)


@pytest.mark.parametrize("name", harness.__all__)
def test_public_name_resolves_to_its_module(name: str) -> None:
    value = getattr(harness, name)
    module = importlib.import_module(harness._MODULE_OF[name])
    assert value is getattr(module, name)
    assert getattr(value, "__module__", module.__name__).partition(".")[0] in {
        "harness",
        "typing",
        "types",
        "pluggy",
        "collections",
        "numpy",
    }


def test_all_is_exactly_what_resolves() -> None:
    assert sorted(harness._MODULE_OF) == sorted(harness.__all__)


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    assert harness.__file__ is not None
    tree = ast.parse(Path(harness.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == harness._MODULE_OF


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'harness' has no attribute 'Modle'"):
        _ = harness.Modle


def test_import_harness_imports_nothing_heavy() -> None:
    assert not _loaded_after("import harness") & set(HEAVY)


def test_study_and_plugin_errors_need_no_torch() -> None:
    assert not _loaded_after("import harness.study.schema, harness.errors, harness.records") & {
        "torch",
        "ray",
        "mlflow",
    }


def test_first_use_of_a_model_imports_torch_but_neither_ray_nor_mlflow() -> None:
    loaded = _loaded_after("import harness; harness.Model")
    assert "torch" in loaded
    assert not loaded & {"ray", "mlflow"}
