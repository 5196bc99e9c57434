"""Mutation testing of the modules on which claims rest: mutmut alters the code, and the mirrored fast tests must fail.

    python benchmarks/mutation.py [GROUP ...] [--sample 40] [--seed 0] [--work runs/mutation] [--json FILE]

Of each group of modules a seeded sample of mutants is run; `--sample 0` runs all.  The same command continues: mutants
that have a result are not run again, until the code or its tests change.  `tox -e mutation` installs mutmut, and runs
this.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import tomli_w

ROOT = Path(__file__).parents[1]
TASKS = ROOT / "plugins" / "tasks"
KILLED = (1, 3, 24, -24, 36, 152, 255, -6, -9, -11)
"""mutmut's exit codes of mutants that a test noticed, or that ran out of time or memory."""
MEMORY = 12 * 2**30
"""Bytes of address space: a mutant may loop and allocate without end."""
UNCHECKED = (None, 2)


@dataclass(frozen=True)
class Group:
    """Modules that are mutated together, and the tests that must notice."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


def mirrored(package: str, *modules: str) -> Group:
    """Return a group of modules of one package and their mirrored tests."""
    tests = tuple(f"tests/{package}/test_{module}.py" for module in modules)
    return Group(tuple(f"harness/{package}/{module}.py" for module in modules), tests)


GROUPS = {
    "search": mirrored("search", "ask_storage", "cell", "history", "promotion", "proposals", "scheduler", "suggestion"),
    "budget": mirrored("study", "budget", "space", "shapes"),
    "statistics": mirrored("analysis", "statistics", "paired_tests", "sign_test", "aggregate"),
    "comparison": mirrored("analysis", "comparison", "comparison_row", "cell_result", "reproduction"),
    "race": mirrored("recommendation", "race", "pairwise", "gains", "inference"),
    "recommendation": mirrored("recommendation", "conclusions", "predictor"),
    "training": Group(
        tuple(
            f"harness/training/{module}.py"
            for module in ("run", "update_step", "kept_weights", "stopping", "optimizers", "evaluation")
        ),
        tuple(
            f"tests/training/test_{module}.py"
            for module in ("run", "kept_weights", "stopping", "optimizers", "evaluation", "streams")
        ),
    ),
    "batches": Group(
        ("harness/training/batches.py",), ("tests/training/test_batches.py", "tests/training/test_streams.py")
    ),
    "cuts": Group(("harness_tasks/own/cuts.py",), ("own_tests/test_own_cuts.py",)),
}


@dataclass(frozen=True)
class Score:
    """What the tests noticed of one group."""

    mutants: int
    """All that mutmut makes of the modules."""
    run: int
    killed: int
    survivors: tuple[str, ...]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; default: all")
    parser.add_argument("--sample", type=int, default=40, help="mutants of each group; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--work", type=Path, default=Path("runs/mutation"), help="copies of the code, and results")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--before", type=Path, metavar="FILE", help="figures of an earlier run, written by --json")
    given = parser.parse_args()
    scores: dict[str, Score] = {}
    for name in given.groups or GROUPS:
        scores[name] = score(name, given.work.resolve() / name, given.sample, given.seed)
        print("\n".join(table({name: scores[name]}, {})[2:]), flush=True)
    if given.json is not None:
        given.json.write_text(
            json.dumps({name: asdict(group_score) for name, group_score in scores.items()}, indent=1) + "\n"
        )
    earlier = json.loads(given.before.read_text()) if given.before is not None else {}
    before = {
        name: Score(**{**earlier_score, "survivors": tuple(earlier_score["survivors"])})
        for name, earlier_score in earlier.items()
    }
    print("\n".join(table(scores, before)))
    for name, group_score in scores.items():
        for mutant in group_score.survivors:
            print(f"\n{mutant}\n{difference(given.work.resolve() / name, mutant)}")
    return 0


def score(name: str, work: Path, count: int, seed: int) -> Score:
    """Run a sample of a group's mutants, in a copy of the code."""
    group = GROUPS[name]
    prepare(group, work)
    every = [mutant for module in group.modules for mutant in mutants_of(work, module)]
    names = sample(every, count, seed)
    left = [mutant for mutant in names if results(work).get(mutant) in UNCHECKED]
    if left:
        mutmut(work, "run", "--max-children", "1", *left)
    codes = results(work)
    if any(codes.get(mutant) in UNCHECKED for mutant in names):
        raise SystemExit(f"{name}: mutmut has not run all mutants; see {work / 'run.log'}")
    survivors = tuple(mutant for mutant in names if codes[mutant] not in KILLED)
    return Score(len(every), len(names), len(names) - len(survivors), survivors)


def mutants_of(work: Path, module: str) -> list[str]:
    """Return the names of all mutants of a module, as mutmut makes them."""
    # Only `tox -e mutation` has it.
    from mutmut.mutation.file_mutation import mutate_file_contents  # type: ignore[import-not-found]

    dotted = module.removesuffix(".py").replace("/", ".")
    with contextlib.chdir(work):  # where mutmut finds its settings
        names = mutate_file_contents(module, Path(module).read_text()).mutant_names
    return [f"{dotted}.{name}" for name in names]


def sample(mutants: Sequence[str], count: int, seed: int) -> list[str]:
    """Return a seeded sample, in order; all if `count` is 0 or there are no more."""
    ordered = sorted(mutants)
    if not count or count >= len(ordered):
        return ordered
    return sorted(random.Random(seed).sample(ordered, count))


def prepare(group: Group, work: Path) -> None:
    """Copy code and tests; start over if they have changed since the last run."""
    state = digest([path for folder in sources() for path in sorted(folder.rglob("*.py"))])
    stamp = work / "state"
    if stamp.exists() and stamp.read_text() == state:
        return
    shutil.rmtree(work, ignore_errors=True)
    for folder in sources():
        name = "own_tests" if folder.parent == TASKS else folder.name
        shutil.copytree(folder, work / name, ignore=shutil.ignore_patterns("__pycache__"))
    settings = {
        "source_paths": [group.modules[0].partition("/")[0]],
        "only_mutate": list(group.modules),
        "also_copy": ["own_tests"],
        "pytest_add_cli_args": ["-m", "not slow and not gpu", "-p", "no:xdist", "--hypothesis-profile=ci"],
        "pytest_add_cli_args_test_selection": list(group.tests),
        "timeout_multiplier": 2.0,
        "timeout_constant": 10.0,
    }
    pytest = {"ini_options": {"markers": ["slow", "gpu"], "addopts": "-p no:randomly"}}
    (work / "pyproject.toml").write_text(tomli_w.dumps({"tool": {"mutmut": settings, "pytest": pytest}}))
    stamp.write_text(state)


def sources() -> Iterator[Path]:
    """Yield the folders that are copied."""
    yield from (ROOT / "harness", ROOT / "tests", TASKS / "src" / "harness_tasks", TASKS / "tests")


def digest(paths: Sequence[Path]) -> str:
    hashed = hashlib.sha256()
    for path in paths:
        hashed.update(path.read_bytes())
    return hashed.hexdigest()


def mutmut(work: Path, *arguments: str) -> str:
    """Run mutmut in the copy, with the plugins of this checkout behind it."""
    plugins = [str(ROOT / "plugins" / name / "src") for name in ("models", "modern", "tasks")]
    (work / "mutants").mkdir(exist_ok=True)  # Python forgets a path that does not exist when it starts
    paths = [str(work / "mutants"), *filter(None, [os.environ.get("PYTHONPATH", "")]), *plugins]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mutmut", *arguments]
    finished = subprocess.run(
        command, cwd=work, env=environment, capture_output=True, text=True, check=False, preexec_fn=_limit_memory
    )
    (work / f"{arguments[0]}.log").write_text(finished.stdout + finished.stderr)
    return finished.stdout


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def results(work: Path) -> dict[str, int | None]:
    """Return mutant → exit code of its tests; None before it has run."""
    files = (work / "mutants").rglob("*.py.meta")
    return {mutant: code for file in files for mutant, code in json.loads(file.read_text())["exit_code_by_key"].items()}


def difference(work: Path, mutant: str) -> str:
    """Return what a mutant changes, without the header of the difference."""
    lines = mutmut(work, "show", mutant).splitlines()
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


def table(scores: Mapping[str, Score], before: Mapping[str, Score]) -> list[str]:
    """Return the lines of the table; a dash where there is no earlier score."""
    lines = ["| modules | mutants | run | killed before | killed | score |", "| :-- | --: | --: | --: | --: | --: |"]
    for name, now in scores.items():
        then = f"{before[name].killed} of {before[name].run}" if name in before else "–"
        share = f"{100 * now.killed / now.run:.0f} %" if now.run else "–"
        lines.append(f"| {name} | {now.mutants:,} | {now.run} | {then} | {now.killed} | {share} |")
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
