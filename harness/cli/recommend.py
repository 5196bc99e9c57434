"""`harness recommend` and `harness predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from harness.cli.options import RUNS, Address, Data, Fresh, Models, Runs, Serial, Set, Storage, Target, study_folder


def recommend(
    task: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="[TASK]", help="A task, as `harness list` names it.", show_default=False),
    ] = None,
    assignments: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Options of the task, updates, batch_size, or any value of the study.",
            show_default=False,
        ),
    ] = None,
    data: Data = None,
    target: Target = None,
    budget: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--budget", metavar="50k", help="Parameters of each network; the task's published size if any."),
    ] = None,
    minutes: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--minutes", min=0.01, help="For all of it: updates, trials and repetitions are chosen to fit."),
    ] = None,
    trials: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--trials", min=1, help="Configurations tried of each model; 8 or what fits unless given."),
    ] = None,
    set_: Set = None,
    repetitions: Annotated[int, typer.Option("--repetitions", min=1, help="Fresh seeds of each winner at most.")] = 29,
    confidence: Annotated[float, typer.Option("--confidence", help="How sure the answer is to be.")] = 0.95,
    models: Models = None,
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--name", help="Of the study and its folder; made of the task or the file unless given."),
    ] = None,
    runs: Runs = RUNS,
    fresh: Fresh = False,
    serial: Serial = False,
    address: Address = None,
    storage: Storage = None,
) -> None:
    """Which architecture to use: a race at equal budgets, until the answer is clear or the budget is used.

    harness recommend --data my.csv --target y --budget 50k --minutes 30

    harness recommend adding length=50 --budget 5k --trials 8

    A search of equal trials, then repetitions in rounds; models that have clearly lost are dropped.  The answer is
    printed and kept as runs/NAME/recommendation.md and .json; it is a study like any other, and the same command
    continues it.  Exit code 0: there is an answer, be it that nothing can be told; 1: no model has a score,
    or results are not all in MLflow; 2: a mistake to mend.
    """
    from harness.cli.actions import recommend

    runs = study_folder(runs, serial, address, storage)
    asked = recommend.Asked(
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
    where = recommend.Where(runs=runs, serial=serial, address=address, fresh=fresh)
    raise typer.Exit(recommend.recommend(asked, where))


def predict(
    study: Annotated[Path, typer.Argument(metavar="FOLDER", help="A study that was recommended on: runs/my-data.")],
    rows: Annotated[Path, typer.Argument(metavar="ROWS", help="A file like that of the training data.")],
    output: Annotated[Optional[Path], typer.Option("--output", "-o", help="Write to a file.")] = None,  # noqa: UP045
) -> None:
    """Let the winner of `harness recommend --data` answer new rows, as CSV."""
    from harness.cli.actions import recommend

    recommend.predict(study, rows, output)
