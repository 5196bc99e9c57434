"""Which architecture for these data: `harness.recommend`."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

from rich.console import Console

from harness.data.in_memory import data_file
from harness.errors import LedgerError, StudyError, shown
from harness.plugin.loader import load_plugins
from harness.study.from_data import parse_count, parse_counts
from harness.workflow.arguments import assignments, listed, plain
from harness.workflow.question import Question
from harness.workflow.races import run_races
from harness.workflow.recommendation import Recommendation, RecommendationBySize, by_size
from harness.workflow.run import IncompleteWarning
from harness.workflow.training import Place

if TYPE_CHECKING:
    from harness.data.in_memory import DataLike


class _Options(TypedDict, total=False):
    """The keyword arguments of `recommend`, for type checkers."""

    task: str | None
    options: Mapping[str, Any] | None
    models: Sequence[str] | None
    minutes: float | None
    trials: int | None
    repetitions: int | None
    confidence: float
    name: str | None
    executor: Literal["ray", "serial"]
    address: str | None
    storage: str | os.PathLike[str]
    tracking_uri: str | None
    progress: bool
    resume: bool
    log_models: bool


SOURCE = "recommend"
"""Where values come from, in messages."""
Sizes = list[int] | list[str] | tuple[int | str, ...]


@overload
def recommend(
    data: DataLike | None = None, target: str | None = None, *, budget: Sizes, **options: Unpack[_Options]
) -> RecommendationBySize: ...


@overload
def recommend(
    data: DataLike | None = None,
    target: str | None = None,
    budget: int | str | None = None,
    **options: Unpack[_Options],
) -> Recommendation: ...


def recommend(
    data: DataLike | None = None,
    target: str | None = None,
    budget: int | str | Sizes | None = None,
    *,
    task: str | None = None,
    options: Mapping[str, Any] | None = None,
    models: Sequence[str] | None = None,
    minutes: float | None = None,
    trials: int | None = None,
    repetitions: int | None = None,
    confidence: float = 0.95,
    name: str | None = None,
    executor: Literal["ray", "serial"] = "ray",
    address: str | None = None,
    storage: str | os.PathLike[str] = "runs",
    tracking_uri: str | None = None,
    progress: bool = True,
    resume: bool = True,
    log_models: bool = True,
) -> Recommendation | RecommendationBySize:
    """Compare models on data of your own, or on a task, and return the answer with its trained network.

    Every model gets the same number of search trials.  Then the winners train again with new seeds, round by round, and
    models that have clearly lost are dropped.  The same call again resumes an interrupted comparison.

    data: path of a file, a DataFrame, or arrays by name.  target: column or array to predict.
    budget: parameters of each network, such as 50_000 or "50k"; required with data.  A list, such as [5_000, 20_000],
    runs a comparison per size, and the answer has one recommendation per size.
    task: name of the task, in place of data; with data, the task that reads them.
    options: of the task or of the study, such as `{"sequence": "id", "updates": 500, "budget": {"trials": 5}}`; values
    may be NumPy's numbers and arrays, and paths.
    models: names; None: all installed ones that can be used.
    minutes: time budget on this machine, which sizes share equally.  None: 15 minutes, unless trials, updates, epochs
    or an address are given.
    trials: search trials per model.  repetitions: most repetitions of each winner; None: 29.
    confidence: 1 less the probability of a wrong answer, above 0.5.
    executor, address, storage, tracking_uri, progress, resume, log_models: as in `harness.run`.

    Raises HarnessError, with one line that says what to change, if the comparison cannot be made as asked, and
    KeyboardInterrupt after Ctrl-C.
    """
    place = Place(Path(storage), executor, address, tracking_uri, log_models)
    loaded = load_plugins()
    sizes = plain(budget, SOURCE, "budget")
    asked = Question(
        task=task,
        assignments=tuple(assignments({} if options is None else options, f"{SOURCE}: options")),
        target=plain(target, SOURCE, "target"),
        models=None if models is None else tuple(plain(listed(models, SOURCE, "models"), SOURCE, "models")),
        name=name,
        trials=_number(trials, "trials"),
        repetitions=_number(repetitions, "repetitions"),
        minutes=_number(minutes, "minutes"),
        confidence=_number(confidence, "confidence", optional=False),
        address=address,
        data=None if data is None else data_file(data, place.runs / "data", name or "frame"),
    )
    console = Console(stderr=True, quiet=not progress)
    raced = run_races(asked, _counts(sizes), loaded, place, console, fresh=not resume)
    for error in {each.error for each in raced if each.error is not None}:
        warnings.warn(error, IncompleteWarning, stacklevel=2)
    found = [each.recommendation for each in raced if each.recommendation is not None]
    if len(found) < len(raced):
        raise LedgerError(f"{place.runs}: some trials were postponed; call `recommend` again to resume")
    return by_size(found) if isinstance(sizes, list) else found[0]


def _counts(sizes: Any) -> tuple[int, ...]:
    """Return numbers of parameters.  sizes: a number, a text such as "50k", a list of these, or None."""
    if isinstance(sizes, list):
        return parse_counts(", ".join(map(str, sizes)))
    return () if sizes is None else (parse_count(str(sizes)),)


def _number(value: Any, key: str, *, optional: bool = True) -> Any:
    """Return a number of any type as Python's; an optional one may be None.  Raises StudyError if it is no number."""
    number = plain(value, SOURCE, key)
    if number is None and optional:
        return None
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise StudyError(f"{SOURCE}: {key!r} must be a number, got {shown(number)}")
    return number
