"""`harness plan`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import RUNS, Data, Json, Models, OwnTask, Profile, Runs, Set, Size, StudyPlace, Target, Tasks


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
    draws: Annotated[int, typer.Option("--draws", min=1, help="Configurations to show per cell.")] = 1,
    shapes: Annotated[
        bool, typer.Option("--shapes", help="Also list the shapes that cannot meet the parameter budget at any widths.")
    ] = False,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Estimate the time from 20 updates of each of three configurations per cell, trained on this machine "
            "for about a minute at most.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the cells of a study, their solved widths and an estimate of the training time."""
    from harness.cli.actions import plan, study_input

    dataset = study_input.dataset_request(data, target=target, budget=budget, task=task)
    request = study_input.StudyRequest(study, dataset, set_ or (), models, tasks, profile, runs)
    if as_json:
        plan.print_plan(study_input.read(request), measure=measure)
    else:
        plan.show_plan(study_input.read(request), draws, shapes=shapes, measure=measure)
