"""`harness run`."""

from __future__ import annotations

import typer

from harness.cli.options import (
    RUNS,
    Address,
    Baseline,
    Data,
    Details,
    Fresh,
    LogModels,
    Models,
    OwnTask,
    Profile,
    Quiet,
    Runs,
    Serial,
    Set,
    Size,
    SkipMissing,
    Storage,
    StudyPlace,
    Target,
    Tasks,
    Verbose,
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
    log_models: LogModels = True,
    details: Details = False,
    baseline: Baseline = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Run a study. Run the same command again to resume it: only what is missing is trained.

    No study file is needed with --data: harness run --data my.parquet --target y --budget 50k trains every installed
    model, with 10 configurations and 17 repetitions of the best one, for 50 epochs (500 to 5000 updates). The
    study is stored as runs/my/study.toml. See docs/your-data.md.

    Results go to sqlite:///mlflow.db unless MLFLOW_TRACKING_URI names another store. The log of a run is study.log in
    the study's folder; with -v it has every evaluation.

    Exit codes: 0, everything is done; 1, a cell failed, trials were postponed, or MLflow lacks results; 2, a usage
    error; 130, interrupted.
    """
    from harness.cli.actions import run, study_input
    from harness.cli.actions.session import console_of, place_of

    runs = study_folder(runs, serial, address, storage)
    dataset = study_input.dataset_request(data, target=target, budget=budget, task=task)
    request = study_input.StudyRequest(study, dataset, set_ or (), models, tasks, profile, runs)
    code = run.run(
        study_input.read(request),
        place_of(runs, serial=serial, address=address, log_models=log_models),
        console_of(verbose=verbose, quiet=quiet),
        run.RunOptions(fresh=fresh, skip_missing=skip_missing, details=details, baseline=baseline),
    )
    raise typer.Exit(code)
