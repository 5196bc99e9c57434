"""`harness recommend` and `harness predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from harness.cli.options import (
    RUNS,
    Address,
    Data,
    Fresh,
    Json,
    LogModels,
    Models,
    Quiet,
    Runs,
    Serial,
    Set,
    Storage,
    Target,
    Verbose,
    study_folder,
)

Task = Annotated[
    Optional[str],  # noqa: UP045
    typer.Argument(metavar="[TASK]", help="Name of a task; see `harness list`.", show_default=False),
]
Assignments = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Options of the task, keys of the training section such as updates=500, or any key of a study file.",
        show_default=False,
    ),
]
NetworkSize = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--budget",
        metavar="50k",
        help="Parameters of each network, such as 50k. Several sizes, such as 5k,20k,80k, run a race each. Default: "
        "the task's published size. Required with --data.",
    ),
]
Minutes = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        "--minutes",
        min=0.01,
        help="Time budget of the whole command, in minutes; sizes share it equally. Updates, trials and repetitions "
        "are chosen to fit. Default: 15, unless --trials, updates, epochs or --address is given.",
    ),
]
Trials = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--trials",
        min=1,
        help="Search trials per model. Default: what fits into the time; without a time 8, with --data 10.",
    ),
]
Repetitions = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--repetitions", min=1, help="Maximum number of final runs of each winner with new seeds. Default: 29."
    ),
]
Confidence = Annotated[
    float, typer.Option("--confidence", help="Probability that the recommendation is right, between 0.5 and 1.")
]
StudyName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--name", help="Name of the study and its folder. Default: made from the task or the file."),
]


def recommend(
    task: Task = None,
    assignments: Assignments = None,
    data: Data = None,
    target: Target = None,
    budget: NetworkSize = None,
    minutes: Minutes = None,
    trials: Trials = None,
    set_: Set = None,
    repetitions: Repetitions = None,
    confidence: Confidence = 0.95,
    models: Models = None,
    name: StudyName = None,
    runs: Runs = RUNS,
    fresh: Fresh = False,
    serial: Serial = False,
    address: Address = None,
    storage: Storage = None,
    log_models: LogModels = True,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Recommend an architecture: compare models in rounds and stop once the result is statistically clear.

    harness recommend --data my.csv --target y --budget 50k --minutes 30

    harness recommend adding length=50 --budget 5k,20k --trials 8

    Every model gets the same number of search trials. Then the winners run in rounds with new seeds, and models that
    have clearly lost are dropped. The result is printed and written to runs/NAME/recommendation.md and .json. Run the
    same command again to resume an interrupted study. The log is runs/NAME/study.log.

    Exit codes: 0, there is a result, possibly that the comparison is inconclusive; 1, no model has a score, trials were
    postponed, or MLflow lacks results; 2, a usage error; 130, interrupted.
    """
    from harness.cli.actions import recommend, session, study_input
    from harness.study.from_data import parse_counts
    from harness.workflow.question import Question

    chosen = study_input.names(models)
    question = Question(
        task=task,
        assignments=(*(assignments or ()), *(set_ or ())),
        data=data,
        target=target,
        models=None if chosen is None else tuple(chosen),
        name=name,
        trials=trials,
        repetitions=repetitions,
        minutes=minutes,
        confidence=confidence,
        address=address,
    )
    sizes = () if budget is None else parse_counts(budget)
    place = session.place_of(
        study_folder(runs, serial, address, storage), serial=serial, address=address, log_models=log_models
    )
    raise typer.Exit(
        recommend.recommend(
            question, sizes, place, session.console_of(verbose=verbose, quiet=quiet), fresh=fresh, as_json=as_json
        )
    )


def predict(
    study: Annotated[
        Path,
        typer.Argument(
            metavar="STUDY", help="A study that has run: its folder, such as runs/my-data, or its name in --runs."
        ),
    ],
    rows: Annotated[
        Path,
        typer.Argument(
            metavar="ROWS", help="A file with the columns of the training data; the target may be left out."
        ),
    ],
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", help="File to write, .csv or .parquet. Default: CSV on standard output."),
    ] = None,
    task: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--task", help="Label of the task, if the study has several."),
    ] = None,
    model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--model", help="Label of the model. Default: the recommended one, or the leader of the task."),
    ] = None,
    runs: Runs = RUNS,
) -> None:
    """Predict new rows with a trained model of a study, and print the predictions as CSV.

    Of `harness recommend`, it is the recommended model. Of `harness run`, it is the model with the best mean test
    score. Of its repetitions, it is the one with the best validation score.
    """
    from harness.cli.actions import recommend

    recommend.predict(recommend.ModelChoice(study, task, model, runs), rows, output)
