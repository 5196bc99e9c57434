"""The site: the code of its pages runs, and its lists are complete."""

from __future__ import annotations

import inspect
import linecache
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import harness
from harness.plugin import hookspecs
from harness.study.file import parse_study
from harness.testing import MODEL_CHECKS, TASK_CHECKS
from tests.support.documents import ROOT

DOCS = ROOT / "docs"

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the core's wheel is tested without the documents")

PAGES = sorted(path.name for path in DOCS.glob("*.md"))
RUN_BY_TEST_DOCS = {"cluster.md", "gpu.md", "read-the-results.md", "write-a-model.md"}
"""Pages whose blocks need an installation, a cluster or a finished study."""
SHOWN = {"", "text"}
"""Languages of blocks that are not code: folder trees, output."""
BLOCK = re.compile(r"(?:^<!-- not run: (?P<reason>.+?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```", re.M | re.S)


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    reason: str | None
    """Why it is not run."""


def blocks_of(page: str) -> list[Block]:
    matches = BLOCK.finditer((DOCS / page).read_text())
    return [Block(match["language"], match["text"], match["reason"]) for match in matches]


def members_of(page: str, module: str) -> list[str]:
    """What a page takes from a module, in its order."""
    text = (DOCS / page).read_text()
    lists = re.findall(rf"::: {re.escape(module)}\n    options:\n      members: \[(.*?)\]", text)
    return [name for each in lists for name in each.split(", ")]


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page not in RUN_BY_TEST_DOCS])
def test_blocks_of_a_page_run_one_after_another(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("harness_models", reason="the pages use first-party models")
    pytest.importorskip("harness_tasks", reason="the pages use first-party tasks")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "studies").symlink_to(ROOT / "studies")
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks_of(page):
        if block.reason is not None or block.language in SHOWN:
            continue
        if block.language == "python":
            lines = block.text.splitlines(keepends=True)
            file = f"{page}-{len(linecache.cache)}"  # a notebook, too, gives each cell a name and keeps its source
            linecache.cache[file] = (len(block.text), None, lines, file)
            exec(compile(block.text, file, "exec"), names)  # a page's blocks go on from one another
        elif block.language == "toml":
            parse_study(tomllib.loads(block.text), page)
        else:
            assert block.language == "sh", f"{page}: a block of {block.language!r} is neither run nor marked"
            _run_shell(block.text)


def _run_shell(text: str) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-e", "-c", text], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"


def test_navigation_has_every_page() -> None:
    pages = sorted(path.relative_to(DOCS).as_posix() for kind in ("*.md", "*.ipynb") for path in DOCS.rglob(kind))
    assert sorted(_listed(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])) == pages


def test_links_of_notebooks_lead_to_pages_of_the_site() -> None:
    """mkdocs does not check them: they are addresses of the site."""
    for notebook in DOCS.rglob("*.ipynb"):
        links = re.findall(r"\]\(([^)\s]+)\)", notebook.read_text())
        pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
        assert {link.removeprefix("../../").rstrip("/") for link in links} <= pages, notebook.name


def _listed(nav: list[Any]) -> Iterator[str]:
    """Pages of a navigation, whose entries are {title: page} or {title: entries}, hence Any."""
    for entry in nav:
        (value,) = entry.values()
        if isinstance(value, str):
            yield value
        else:
            yield from _listed(value)


def test_every_hook_is_on_its_page_in_order() -> None:
    specs = [name for name, value in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("harness_")]
    documented = members_of("hooks.md", "harness.plugin.hookspecs")
    assert sorted(documented) == sorted(specs)
    assert documented == sorted(documented, key=lambda name: inspect.getsourcelines(getattr(hookspecs, name))[1])


@pytest.mark.parametrize(
    "name", [name for name, value in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("harness_")]
)
def test_hook_says_at_its_end_where_and_when_it_is_called(name: str) -> None:
    last = (inspect.getdoc(getattr(hookspecs, name)) or "").split("\n\n")[-1]
    assert last.startswith("Called ")
    assert "driver" in last


def test_every_check_is_on_its_page() -> None:
    modules = ("backbones", "builds", "stacks", "tasks", "splits", "floors")
    documented = [name for module in modules for name in members_of("checks.md", f"harness.testing.{module}")]
    assert sorted(documented) == sorted(check.__name__ for check in (*MODEL_CHECKS, *TASK_CHECKS))


def test_checks_that_the_footguns_name_exist() -> None:
    named = set(re.findall(r"`(check_\w+)`", (DOCS / "footguns.md").read_text()))
    assert named <= {check.__name__ for check in (*MODEL_CHECKS, *TASK_CHECKS)}


def test_every_public_name_is_in_the_api() -> None:
    text = (DOCS / "api.md").read_text() + (DOCS / "hooks.md").read_text()
    for name in harness.__all__:
        home = harness._MODULE_OF[name]
        assert f"::: {home}\n" in text or f"::: {home}.{name}\n" in text, name
