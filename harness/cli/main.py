"""The command `harness`.  Each command's own module is imported when the command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from harness.cli import session, show
from harness.errors import HarnessError, StudyError

app = typer.Typer(
    name="harness",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Which sequence architecture, at the same parameter budget and the same tuning budget?\n\n"
    "A study is a TOML file (see studies/): tasks x models x budget. Begin with\n\n"
    "  harness plan studies/quickstart.toml     what would be trained, without training\n\n"
    "  harness run studies/quickstart.toml      train, track, print the comparison\n\n"
    "  harness ui                               look at every trial in MLflow",
)
data_app = typer.Typer(no_args_is_help=True, help="The data files that tasks read: what is here, fetch, verify.")
app.add_typer(data_app, name="data")
new_app = typer.Typer(no_args_is_help=True, help="Write a package of your own with a model or a task to begin from.")
app.add_typer(new_app, name="new")

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


def _one_place(runs: Path, serial: bool, address: str | None, storage: Path | None) -> Path:
    """Where studies keep their folders; StudyError where it is not said where to train."""
    if serial and address is not None:
        raise StudyError("--serial trains in this process and --address on a cluster; give one of them")
    if storage is not None and address is None:
        raise StudyError("--storage is the folder that a cluster shares; give --address too, or --runs")
    return storage or runs


@app.command()
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
    from harness.cli import run

    runs = _one_place(runs, serial, address, storage)
    own = session.own_data(data, target=target, budget=budget, task=task)
    code = run.run(
        session.read(study, set_, own=own, models=models, tasks=tasks, profile=profile, runs=runs),
        runs=runs,
        fresh=fresh,
        skip_missing=skip_missing,
        serial=serial,
        address=address,
    )
    raise typer.Exit(code)


@app.command()
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
    from harness.cli import recommend

    runs = _one_place(runs, serial, address, storage)
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


@app.command()
def predict(
    study: Annotated[Path, typer.Argument(metavar="FOLDER", help="A study that was recommended on: runs/my-data.")],
    rows: Annotated[Path, typer.Argument(metavar="ROWS", help="A file like that of the training data.")],
    output: Annotated[Optional[Path], typer.Option("--output", "-o", help="Write to a file.")] = None,  # noqa: UP045
) -> None:
    """Let the winner of `harness recommend --data` answer new rows, as CSV."""
    from harness.cli import recommend

    recommend.predict(study, rows, output)


@app.command()
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
    draws: Annotated[int, typer.Option("--draws", min=1, help="Configurations to show of each cell.")] = 1,
) -> None:
    """Show the cells of a study, the sizes they are solved to and what they would cost, without training."""
    from harness.cli import plan

    own = session.own_data(data, target=target, budget=budget, task=task)
    chosen = session.read(study, set_, own=own, models=models, tasks=tasks, profile=profile, runs=runs)
    plan.show_plan(chosen, draws)


@app.command(name="list")
def list_() -> None:
    """List the installed models and tasks, with plugin, version and origin."""

    show.show_registry()


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A task or a model, as `harness list` names it.")],
    options: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="[KEY=VALUE]...", help="Options of the task: length=500.", show_default=False),
    ] = None,
) -> None:
    """Show a task's size, floor, published values and data, or a model's search space and published settings."""

    show.show(name, options or [])


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A model, a task or a package, as `harness list` names them.")],
    assignments: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Options of the task, or keywords of the model's build to hold at a value.",
            show_default=False,
        ),
    ] = None,
    expect: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--expect", metavar="CHECK=REASON", help="A check that must fail, and why. Repeatable."),
    ] = None,
) -> None:
    """Check that a model or a task keeps what the harness relies on: harness check tcn, harness check my-package.

    Exit code 0: every check passed, did not apply or failed as expected; 1: one is to be mended.
    """
    from harness.cli import check

    raise typer.Exit(check.check(name, assignments or [], expect or []))


@new_app.command(name="model")
def new_model(name: NewName, folder: NewFolder = Path()) -> None:
    """Write a package with the smallest good model: it installs, passes its checks and trains as it stands."""
    from harness.cli import new

    new.make("model", name, folder)


@new_app.command(name="task")
def new_task(name: NewName, folder: NewFolder = Path()) -> None:
    """Write a package with the smallest good task: it installs, passes its checks and trains as it stands."""
    from harness.cli import new

    new.make("task", name, folder)


@app.command()
def train(
    task: Annotated[str, typer.Argument(help="A task, as `harness list` names it.")],
    model: Annotated[str, typer.Argument(help="A model, as `harness list` names it.")],
    assignments: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="parameters, updates, batch_size, seed, options of the task, dimensions of the space.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train one trial in this process, without Ray or tracking: harness train adding tcn length=100 updates=500.

    What is not given is drawn as the first search trial of a study would draw it.
    """
    from harness.cli import train

    raise typer.Exit(train.train(task, model, assignments or []))


@app.command()
def report(
    studies: Annotated[
        list[str], typer.Argument(metavar="STUDY...", help="Names of studies, or their TOML files.", show_default=False)
    ],
    format_: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--format", help="markdown, latex, csv, parquet or html; else by the ending of --output."),
    ] = None,
    output: Annotated[Optional[Path], typer.Option("--output", "-o", help="Write to a file.")] = None,  # noqa: UP045
    figures: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--figures", metavar="FOLDER", help="Write every figure there, as SVG."),
    ] = None,
    study_id: Annotated[Optional[str], typer.Option("--id", help="One of several studies of a name.")] = None,  # noqa: UP045
) -> None:
    """Print the comparison of one or more studies from MLflow alone, and how complete the store is.

    What is sure, what it cost, whether published values were reached; what cannot be compared is not ranked.
    """
    from harness.cli import report

    report.report(studies, format_, output, study_id, figures)


@app.command()
def sync(study: Annotated[str, typer.Argument(help="A study's name or its TOML file.")], runs: Runs = RUNS) -> None:
    """Send to MLflow whatever of a study's ledger it lacks: after it was away, or into another store."""
    from harness.cli import report

    report.sync(study, runs)


@app.command()
def ui(port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 5000) -> None:
    """Open the MLflow UI on this folder's store, on loopback only."""
    from harness.cli import report

    report.ui(port)


@data_app.command(name="status")
def data_status(tasks: TaskNames = None) -> None:
    """Show which data files are here, where, and which are missing or damaged."""
    from harness.cli import data

    raise typer.Exit(data.status(tasks or []))


@data_app.command(name="fetch")
def data_fetch(tasks: TaskNames = None) -> None:
    """Download the data files that are missing and whose address is known."""
    from harness.cli import data

    raise typer.Exit(data.fetch_missing(tasks or []))


@data_app.command(name="verify")
def data_verify(tasks: TaskNames = None) -> None:
    """Check size and SHA-256 of the data files; exit code 1 where one is missing or damaged."""
    from harness.cli import data

    raise typer.Exit(data.status(tasks or [], all_must_be_there=True))


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"seqharness {version('seqharness')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """A user's mistake is one line and exit code 2; anything else we did not foresee crashes loudly."""
    try:
        app()
    except HarnessError as error:
        typer.echo(f"harness: {error}", err=True)
        sys.exit(2)
