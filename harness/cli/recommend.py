"""`harness recommend` and `harness predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from harness.cli.options import RUNS, Address, Data, Fresh, Models, Runs, Serial, Set, Storage, Target, study_folder

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
        help="Parameters of each network, such as 50k. Default: the task's published size. Required with --data.",
    ),
]
Minutes = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        "--minutes",
        min=0.01,
        help="Time budget of the whole command, in minutes. Updates, trials and repetitions are chosen to fit.",
    ),
]
Trials = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--trials", min=1, help="Search trials per model. Default: 8, with --data 10, with --minutes what fits."
    ),
]
Repetitions = Annotated[
    int, typer.Option("--repetitions", min=1, help="Maximum number of final runs of each winner with new seeds.")
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
    repetitions: Repetitions = 29,
    confidence: Confidence = 0.95,
    models: Models = None,
    name: StudyName = None,
    runs: Runs = RUNS,
    fresh: Fresh = False,
    serial: Serial = False,
    address: Address = None,
    storage: Storage = None,
) -> None:
    """Recommend an architecture: compare models in rounds and stop once the result is statistically clear.

    harness recommend --data my.csv --target y --budget 50k --minutes 30

    harness recommend adding length=50 --budget 5k --trials 8

    Every model gets the same number of search trials. Then the winners run in rounds with new seeds, and models that
    have clearly lost are dropped. The result is printed and written to runs/NAME/recommendation.md and .json. Run the
    same command again to resume an interrupted study.

    Exit codes: 0, there is a result, possibly that the comparison is inconclusive; 1, no model has a score, trials were
    postponed, or MLflow lacks results; 2, a usage error; 130, interrupted.
    """
    from harness.cli.actions import recommend

    where = recommend.RunOptions(study_folder(runs, serial, address, storage), serial, address, fresh)
    options = recommend.RecommendOptions(
        task=task,
        assignments=(*(assignments or ()), *(set_ or ())),
        data=data,
        target=target,
        budget=budget,
        models=models,
        name=name,
        trials=trials,
        repetitions=repetitions,
        minutes=minutes,
        confidence=confidence,
    )
    raise typer.Exit(recommend.recommend(options, where))


def predict(
    study: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of a study of `harness recommend`, such as runs/my-data.")
    ],
    rows: Annotated[
        Path,
        typer.Argument(
            metavar="ROWS", help="A file with the columns of the training data; the target may be left out."
        ),
    ],
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", help="File to write. Default: standard output."),
    ] = None,
) -> None:
    """Predict new rows with the winner of `harness recommend --data`, and print the predictions as CSV."""
    from harness.cli.actions import recommend

    recommend.predict(study, rows, output)
