"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from harness.errors import StudyError

StudyPlace = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Argument(
        metavar="[STUDY]",
        help="A study file, the folder of a study, or the name of a study in the folder of --runs.",
        show_default=False,
    ),
]
Data = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--data",
        metavar="FILE",
        help="A dataset of your own (.csv, .tsv, .parquet, .npz, .npy or .txt), in place of a study or a task.",
    ),
]
Target = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--target", metavar="NAME", help="With --data: the column or array to predict."),
]
Size = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--budget",
        metavar="50k",
        help="With --data: parameters of each network, such as 50k, 1.2M or 50000. Several sizes: 5k,20k,80k.",
    ),
]
OwnTask = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--task", metavar="NAME", help="With --data: the task that reads the file, if several can."),
]
Set = Annotated[
    Optional[list[str]],  # noqa: UP045  # Typer evaluates annotations at run time
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Set a key of the study file, as -s budget.trials=3; with --data also an option of the task, as "
        "-s time=when. Repeatable.",
    ),
]
Models = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--models", metavar="A,B", help="Models to train, by name or label. Installed models may be added this way."
    ),
]
Tasks = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--tasks", metavar="A,B", help="Tasks of the study to train, by label or name."),
]
Profile = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--profile",
        metavar="smoke",
        help="smoke: a short test of a whole study. Two trials per cell, of at most 20 seconds each, scored on a part "
        "of the held-out data.",
    ),
]
SkipMissing = Annotated[
    bool, typer.Option("--skip-missing", help="Leave out tasks whose data files are not found, and say why.")
]
Runs = Annotated[Path, typer.Option("--runs", metavar="FOLDER", help="Folder that holds one folder per study.")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Start a new study; an earlier study of the same name is renamed and kept.")
]
Serial = Annotated[
    bool, typer.Option("--serial", help="Train in this process, without Ray. Trials that hang are not stopped.")
]
Address = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--address", metavar="HOST:PORT", help="A running Ray cluster. Default: Ray starts on this machine."),
]
TaskNames = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(metavar="[TASK]...", help="Names of tasks. Default: all that read data files.", show_default=False),
]
NewName = Annotated[str, typer.Argument(help="Name in studies: a-z, 0-9 and '-', such as my-net.")]
NewFolder = Annotated[Path, typer.Option("--folder", help="Folder in which the package's folder is made.")]
Storage = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--storage", metavar="FOLDER", help="With --address: a folder that all nodes share, in place of --runs."
    ),
]
Details = Annotated[
    bool,
    typer.Option("--details", help="Print the whole comparison, as to a file or a pipe."),
]
LogModels = Annotated[
    bool,
    typer.Option(
        "--log-models/--no-log-models",
        envvar="HARNESS_LOG_MODELS",
        help="Store the best repetition of each cell as an MLflow model, about a second per cell.",
    ),
]
Baseline = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--baseline",
        metavar="FOLDER",
        help="Compare with the stored cells of this folder, as `harness export` writes it; they are not trained again. "
        "Task, data, budget, training and seeds must agree.",
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show also trials that begin, and every evaluation of a trial.")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show no progress and no notes: only errors and the result.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]
RUNS = Path("runs")


def study_folder(runs: Path, serial: bool, address: str | None, storage: Path | None) -> Path:
    """Return the folder of the studies.  Raises StudyError if the options contradict each other."""
    if serial and address is not None:
        raise StudyError("--serial trains in this process and --address on a cluster; give only one of them")
    if storage is not None and address is None:
        raise StudyError("--storage is the folder that a cluster shares; give --address too, or use --runs")
    return storage or runs
