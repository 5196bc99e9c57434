"""`harness plan`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import RUNS, Data, Models, OwnTask, Profile, Runs, Set, Size, StudyPlace, Target, Tasks


def plan(
    study: StudyPlace = None,
    data: Data = None,
    target: Target = None,
    budget: Size = None,
    task: OwnTask = None,
    set_: Set = None,
    models: Models = None,
    tasks: Tasks = None,
    profile: Profile = None,
    runs: Runs = RUNS,
    draws: Annotated[int, typer.Option("--draws", min=1, help="Configurations to show for each cell.")] = 1,
    shapes: Annotated[
        bool, typer.Option("--shapes", help="Also list the shapes that no widths bring to the parameter budget.")
    ] = False,
) -> None:
    """Show the cells of a study, the sizes they are solved to and what they would cost, without training."""
    from harness.cli.actions import plan, study_input

    own = study_input.own_data(data, target=target, budget=budget, task=task)
    chosen = study_input.read(study, set_, own=own, models=models, tasks=tasks, profile=profile, runs=runs)
    plan.show_plan(chosen, draws, shapes=shapes)
