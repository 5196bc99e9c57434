"""Plan one cell of the paper protocol for a machine that has PyTorch alone.

    python studies/gpu/plan_row.py --task ptb-word --model tcn --seeds 3 --out row.json

The trials are those of `harness run studies/paper/TASK.toml`: the same settings, seeds, updates and evaluations.
"""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from row import Row

from harness.errors import HarnessError
from harness.execution.environment import git_commit
from harness.plugin.loader import load_plugins
from harness.plugin.registry import Registry
from harness.records import Manifest, Resources
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.study.file import read_study_file, study_toml
from harness.study.plan import make_plan

STUDIES = Path(__file__).parent.parent / "paper"
NEVER = 1e8
"""Seconds between checkpoints: a trial is not resumed there."""


def plan_row(registry: Registry, task: str, model: str, overrides: Sequence[str], *, seeds: int, device: str) -> Row:
    """Return the paper study's cell of one model; the device is the only thing that differs from the study file."""
    study = read_study_file(STUDIES / f"{task}.toml", [*overrides, f"budget.repetitions={seeds}"], models=[model])
    study = study.model_copy(
        update={"resources": Resources(gpu=1 if device == "cuda" else 0, checkpoint_seconds=NEVER)}
    )
    cell = make_plan(study, registry).cells[0]
    manifest = Manifest(
        study=study.name,
        study_id=uuid.uuid4().hex[:12],
        created=time.time(),
        protocol=study.protocol,
        sampler=study.search.sampler,
        seed=study.search.seed,
        cells=(cell.facts,),
        plugins=registry.plugins,
        git=git_commit(),
        data=dict(cell.data),
    )
    proposer = Proposer(cell, seed=study.search.seed)
    state = CellState(proposer, study_id=manifest.study_id)
    trials = []
    for repetition in range(seeds):
        trial = state.final_trial(repetition)
        state.remember(trial)
        trials.append(trial)
    return Row(manifest=manifest, study=study_toml(study), trials=tuple(trials))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="ptb-word", help="a file of studies/paper, without .toml")
    parser.add_argument("--model", required=True, help="a model with a published setting: tcn or lstm")
    parser.add_argument("--seeds", type=int, default=1, help="number of trials")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the row is written")
    parser.add_argument(
        "-s", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="as of harness run"
    )
    given = parser.parse_args(arguments)
    try:
        registry = load_plugins().registry
        row = plan_row(registry, given.task, given.model, given.overrides, seeds=given.seeds, device=given.device)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 2
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(row.model_dump_json(indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
