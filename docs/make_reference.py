"""Write the pages of docs/reference/ from the code: commands, keys of a study file, columns of data frames.

    python docs/make_reference.py

`tests/integration/test_reference.py` fails when a page is not what this writes.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from harness.cli.main import app
from harness.records import Resources, Schedule
from harness.report.columns import BEST_OF_K, COMPARISON, CURVES, DECISIONS, LEADER_CHANGES, SCORES, TRIALS, Column
from harness.study.schema import Budget, ModelEntry, Search, Study, SuccessiveHalving, TaskEntry, TrainingSection
from harness.workflow.planned import COLUMNS as PLAN
from harness.workflow.recommendation import COLUMNS as RECOMMENDATION
from harness.workflow.recommendation import SIZE_COLUMNS

FOLDER = Path(__file__).parent / "reference"
SECTIONS: tuple[tuple[str, type[BaseModel], str], ...] = (
    ("Top level", Study, ""),
    ("Models", ModelEntry, "`models` is a list of names, or of tables with these keys."),
    (
        "Tasks",
        TaskEntry,
        "One `[[tasks]]` table per task. Any other key is an option of the task: see `harness show TASK`.",
    ),
    ("`[budget]`", Budget, ""),
    ("`[training]`", TrainingSection, "A task's own `training = { … }` overrides these keys for that task."),
    ("`[training.schedule]`", Schedule, ""),
    ("`[search]`", Search, ""),
    ("`[search.pruning]`", SuccessiveHalving, "See [Concepts](../concepts.md#successive-halving)."),
    ("`[resources]`", Resources, "What one trial occupies. A task's own `resources = { … }` replaces the table."),
)


def commands_page() -> str:
    """The page of the command line."""
    root = typer.main.get_command(app)
    lines = [
        "# Commands",
        "",
        "Made from the code by `python docs/make_reference.py`. `python -m harness` is the same as `harness`.",
        "",
    ]
    for path, command in _commands(root, "harness"):
        lines += [f"## `{path}`", "", *_help(command), ""]
        rows = [_parameter_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        if rows:
            lines += ["| argument or option | default | meaning |", "| :-- | :-- | :-- |", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


# Typer has brought a Click of its own since 0.16, whose classes are private: hence Any below.


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _help(command: Any) -> list[str]:
    return inspect.cleandoc(command.help or "").splitlines()


def _parameter_row(parameter: Any) -> str:
    meaning = parameter.help or ""
    if parameter.param_type_name == "option" and parameter.envvar:
        meaning += f" Environment variable: {parameter.envvar}."
    if parameter.param_type_name == "argument":
        name, default = f"`{parameter.metavar or parameter.name.upper()}`", ""
    else:
        flags = ", ".join(parameter.opts)
        if parameter.secondary_opts:
            flags = " / ".join((flags, *parameter.secondary_opts))
        value = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper().rstrip('_')}"
        name = f"`{flags}{value}`"
        default = "" if parameter.default in (None, False) or callable(parameter.default) else f"`{parameter.default}`"
        if parameter.is_flag and parameter.default:
            default = f"`{parameter.opts[0]}`"
    return f"| {_cell(name)} | {_cell(default)} | {_cell(meaning)} |"


def study_page() -> str:
    """The page of the study file."""
    lines = [
        "# Study file",
        "",
        "Every key of a study file. Made from the code by `python docs/make_reference.py`. Any key can be set on the",
        "command line: `-s budget.trials=5`, `-s tasks.adding-50.length=80`.",
        "",
    ]
    for title, model, text in SECTIONS:
        lines += [f"## {title}", ""]
        if text:
            lines += [text, ""]
        meanings = _meanings(model)
        lines += ["| key | type | default | meaning |", "| :-- | :-- | :-- | :-- |"]
        for name, info in model.model_fields.items():
            key = info.alias or name
            meaning = meanings.get(name, "")
            lines.append(f"| `{key}` | {_cell(_type(info))} | {_default(info)} | {_cell(meaning)} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """Field → the docstring below it, which Python itself does not keep."""
    tree = ast.parse(inspect.getsource(model))
    (definition,) = tree.body
    assert isinstance(definition, ast.ClassDef)
    texts: dict[str, str] = {}
    for field, text in zip(definition.body, definition.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            texts[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return texts


def _type(info: FieldInfo) -> str:
    """The type as a reader of TOML has it, with its bounds."""
    bounds = [
        text
        for metadata in info.metadata
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
        if (limit := getattr(metadata, name, None)) is not None
        for text in [f"{sign} {limit}"]
    ]
    return ", ".join([_name(info.annotation), *bounds])


def _name(annotation: object) -> str:
    arguments = get_args(annotation)
    if annotation in (int, float, str, bool):
        return {int: "integer", float: "number", str: "text", bool: "true or false"}[annotation]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    origin = str(getattr(annotation, "__origin__", ""))
    if origin.endswith("Literal"):
        return " or ".join(f'"{argument}"' for argument in arguments)
    if arguments:
        if origin in ("<class 'tuple'>", "<class 'list'>"):
            return f"list of {_name(arguments[0])}s"
        if origin == "<class 'dict'>":
            return "table"
        names = [_name(argument) for argument in arguments if argument is not type(None) and argument is not Ellipsis]
        return " or ".join(dict.fromkeys(name for name in names if name))
    return ""


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    if info.default is None:
        return "none"
    if isinstance(info.default, BaseModel) or info.default == {}:
        return "see its table" if isinstance(info.default, BaseModel) else "empty"
    return f"`{str(info.default).lower() if isinstance(info.default, bool) else info.default}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


FRAMES: tuple[tuple[str, dict[str, Column], str], ...] = (
    (
        "`Results.trials`",
        TRIALS,
        "After these, `params.<dimension>` with the dtype of its values, and `<split>/<metric>` (Float64) for the "
        "splits `validation`, `test` and `test-last3`.",
    ),
    ("`Results.scores`", SCORES, ""),
    ("`Results.curves`", CURVES, "Read from MLflow, it has fewer rows: see `Results.curves`."),
    ("`Results.comparison`", COMPARISON, "Also the columns of the CSV, Parquet and JSON that `harness report` writes."),
    ("`Results.decisions`", DECISIONS, ""),
    ("`Results.leader_changes`", LEADER_CHANGES, "Empty for a study with one size per task."),
    ("`Results.best_of_k`", BEST_OF_K, ""),
    ("`Study.plan()`", PLAN, "After these, `params.<dimension>` of the first configuration."),
    ("`Recommendation.table`", RECOMMENDATION, ""),
    ("`RecommendationBySize.table`", SIZE_COLUMNS, ""),
)


def frames_page() -> str:
    """The page of the data frames."""
    lines = [
        "# Data frames",
        "",
        "Made from the code by `python docs/make_reference.py`. Missing values are `pd.NA`. The names and dtypes are",
        "stable.",
        "",
    ]
    for title, columns, note in FRAMES:
        lines += [
            f"## {title}",
            "",
            *([note, ""] if note else []),
            "| column | dtype | meaning |",
            "| :-- | :-- | :-- |",
        ]
        lines += [f"| `{name}` | {column.dtype} | {_cell(column.meaning)} |" for name, column in columns.items()]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


PAGES = {"commands.md": commands_page, "study-file.md": study_page, "frames.md": frames_page}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())


if __name__ == "__main__":
    main()
