"""The descriptions of a cell's run and of its model, which MLflow shows on their pages."""

from __future__ import annotations

from harness.analysis.cell_result import CellResult
from harness.records import Trial
from harness.tracking.trial_run import validation_name


def cell_description(result: CellResult) -> str:
    """Return, as Markdown, what the cell's trials show so far and how to read its runs."""
    return (
        f"{_numbers(result)}\n\n"
        "Child runs `search/…` are the trials of the search, `final/…` those of its winner with new seeds. `mean` and "
        "`interval_low` to `interval_high` summarise the repetitions' test scores; "
        f"`{curve_name(result, result.setting)}` is the winner's learning curve. The comparison with the other "
        "models is the description of the experiment and of the study's run."
    )


def model_description(result: CellResult, repetition: int | None) -> str:
    """Return, as Markdown, what the page of a cell's trained model shows.  repetition: the one that trained it."""
    return (
        f"{_numbers(result)}\n\n"
        f"The weights are those of repetition {repetition}, the best on validation. Where the plugins of the study are "
        "installed, `mlflow.pyfunc.load_model` loads the model and `mlflow models serve --env-manager local` serves it."
    )


def _numbers(result: CellResult) -> str:
    facts, metric = result.facts, result.facts.metric
    rows = [
        ("test", _test(result)),
        ("best validation score of the search", _number(result.best_validation)),
        ("search trials", f"{result.search_ended} of {facts.trials}"),
        ("repetitions", f"{result.finals_ended} of {facts.repetitions}"),
        ("parameters", _size(result)),
        ("configuration", ", ".join(f"{key}={value}" for key, value in sorted(_params(result).items()))),
    ]
    unit = f" in {metric.unit}" if metric.unit else ""
    table = "\n".join(f"| {name} | {value or '–'} |" for name, value in rows)
    return f"**{facts.cell}**: {metric.name}{unit}, {metric.better} is better.\n\n| | |\n| :-- | :-- |\n{table}"


def curve_name(result: CellResult, winner: Trial | None) -> str:
    """Return the metric that holds the winner's learning curve.

    It is the same for all models, so MLflow draws them in one chart.  MLflow cannot remove a curve: if more trials gave
    another winner, the name of its curve contains the number of its trial.
    """
    other = f"-{winner.number}" if winner is not None and result.superseded else ""
    return f"winner{other}-curve/{validation_name(result.facts.metric.name)}"


def _test(result: CellResult) -> str:
    summary = result.summary("test")
    if summary is None:
        return ""
    interval = summary.interval
    bounds = "" if interval is None else f", 95 % interval {_number(interval.low)} to {_number(interval.high)}"
    return f"mean {_number(summary.mean)}{bounds}"


def _size(result: CellResult) -> str:
    if result.setting is None:
        return ""
    budget = result.facts.parameters
    allowed = "published size" if budget is None else f"budget {budget:,}"
    return f"{result.setting.parameters:,} ({allowed})"


def _params(result: CellResult) -> dict[str, object]:
    return dict(result.setting.params) if result.setting is not None else {}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
