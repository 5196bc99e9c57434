"""The pages and pictures that are made from the code are those that the code makes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the core's wheel is tested without the documents")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["commands.md", "study-file.md", "frames.md"])
def test_reference_page_is_what_the_code_makes(page: str) -> None:
    made = script("make_reference").PAGES[page]()
    assert (DOCS / "reference" / page).read_text() == made, "run python docs/make_reference.py"


def test_every_key_of_a_study_file_has_a_meaning() -> None:
    rows = [line for line in (DOCS / "reference" / "study-file.md").read_text().splitlines() if line.startswith("| `")]
    assert len(rows) > 30
    assert [row for row in rows if row.endswith("|  |")] == []


def test_every_option_of_a_command_has_a_meaning() -> None:
    rows = [line for line in (DOCS / "reference" / "commands.md").read_text().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert [row for row in rows if row.endswith("|  |")] == []


def test_picture_of_the_packages_is_what_the_contracts_say() -> None:
    assert (DOCS / "architecture.svg").read_text() == script("make_architecture").drawing()
