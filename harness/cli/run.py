"""`harness run`."""

from __future__ import annotations

import typer

from harness.cli.options import (
    RUNS,
    Address,
    Data,
    Fresh,
    Models,
    OwnTask,
    Profile,
    Runs,
    Serial,
    Set,
    Size,
    SkipMissing,
    Storage,
    StudyPlace,
    Target,
    Tasks,
    study_folder,
)


def run(
    study: StudyPlace = None,
    data: Data = None,
    target: Target = None,
    budget: Size = None,
    task: OwnTask = None,
    set_: Set = None,
    models: Models = None,
    tasks: Tasks = None,
    profile: Profile = None,
    skip_missing: SkipMissing = False,
    runs: Runs = RUNS,
    fresh: Fresh = False,
    serial: Serial = False,
    address: Address = None,
    storage: Storage = None,
) -> None:
    """Run a study, or continue it: the same command again does what is missing.

    With --data there need be no study file: harness run --data my.parquet --target y --budget 50k trains every model
    that is installed, 10 configurations each and 10 repetitions of the best one, for 50 epochs (500 to 5000 updates),
    and keeps the study as runs/my/study.toml. See docs/your-data.md.

    Results go to sqlite:///mlflow.db unless MLFLOW_TRACKING_URI names another store.
    Exit code 0: everything done; 1: a cell failed, or results are not all in MLflow; 2: a mistake to mend.
    """
    from harness.cli.actions import run, study_input

    runs = study_folder(runs, serial, address, storage)
    own = study_input.own_data(data, target=target, budget=budget, task=task)
    code = run.run(
        study_input.read(study, set_, own=own, models=models, tasks=tasks, profile=profile, runs=runs),
        runs=runs,
        fresh=fresh,
        skip_missing=skip_missing,
        serial=serial,
        address=address,
    )
    raise typer.Exit(code)
