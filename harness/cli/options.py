"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from harness.errors import StudyError

StudyPlace = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Argument(metavar="[STUDY]", help="The study file, or the name of one in runs/.", show_default=False),
]
Data = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--data", metavar="FILE", help="Instead of a study: your own data, .csv, .parquet, .npz, .npy or text."
    ),
]
Target = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--target", metavar="NAME", help="With --data: the column or array that is to be predicted."),
]
Size = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--budget", metavar="50k", help="With --data: parameters of each network, as 50k, 1.2M or 50000."),
]
OwnTask = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--task", metavar="NAME", help="With --data: the task, where several read such files."),
]
Set = Annotated[
    Optional[list[str]],  # noqa: UP045  # typer reads it at run time
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Set any value of the study, -s budget.trials=3; with --data also an option of the task, -s time=when. "
        "Repeatable.",
    ),
]
Models = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--models", metavar="A,B", help="Only these models, by name or label; installed ones may be added."),
]
Tasks = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--tasks", metavar="A,B", help="Only these tasks of the study, by label or name."),
]
Profile = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--profile", metavar="smoke", help="smoke: two trials a cell, 20 s each, scored on a part of the held-out data."
    ),
]
SkipMissing = Annotated[
    bool, typer.Option("--skip-missing", help="Leave out tasks whose data files are not here, with the reason.")
]
Runs = Annotated[Path, typer.Option("--runs", metavar="FOLDER", help="Where studies keep their folders.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Begin anew; what is there is kept beside it.")]
Serial = Annotated[
    bool, typer.Option("--serial", help="Train in this process, without Ray; nothing ends a trial that hangs.")
]
Address = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--address", metavar="HOST:PORT", help="A running Ray cluster; else one is started here."),
]
TaskNames = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(metavar="[TASK]...", help="Tasks; all that need data where none is named.", show_default=False),
]
NewName = Annotated[str, typer.Argument(help="Its name in studies: a-z, 0-9 and '-', as my-model.")]
NewFolder = Annotated[Path, typer.Option("--folder", help="Where the package's own folder is made.")]
Storage = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--storage", metavar="FOLDER", help="With --address: a folder that all nodes share."),
]
RUNS = Path("runs")


def study_folder(runs: Path, serial: bool, address: str | None, storage: Path | None) -> Path:
    """Where studies keep their folders; StudyError where it is not said where to train."""
    if serial and address is not None:
        raise StudyError("--serial trains in this process and --address on a cluster; give one of them")
    if storage is not None and address is None:
        raise StudyError("--storage is the folder that a cluster shares; give --address too, or --runs")
    return storage or runs
