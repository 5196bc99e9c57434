"""The schema of study files."""

from __future__ import annotations

from string import ascii_lowercase, digits
from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from harness.records import LABEL, Label, ParamValue, Precision, Record, Resources, Schedule

SpaceOverride = dict[str, ParamValue | Annotated[list[ParamValue], Field(min_length=1)]]
"""Dimension → its fixed value, or a list of the values that it may take.  "none" means None, which TOML lacks."""


class TrainingSection(Record):
    """How one trial trains.  Its length is given in `updates` or in `epochs`, which are converted to updates."""

    updates: int | None = Field(default=None, ge=1)
    """Updates of the weights per trial."""
    epochs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The same in passes over the training split, instead of `updates`."""
    batch_size: int | None = Field(default=None, ge=1)
    """Default: 16 under protocol `fair`, the published batch size under `paper`."""
    evaluations: int = Field(default=20, ge=1)
    """Number of evaluations on validation data, evenly spaced; under `paper` there is one per epoch."""
    patience: int | None = Field(default=None, ge=1)
    """A trial stops after this many evaluations without a better score.  Default: it does not stop early."""
    minimum_updates: int = Field(default=0, ge=0)
    """Updates before `patience` may stop a trial."""
    seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Maximum training time of a trial, in seconds.  Default: no limit."""
    evaluation_limit: int | None = Field(default=None, ge=1)
    """Number of sequences, or windows of a stream, of validation and of test that are scored.  Default: all."""
    schedule: Schedule | None = None
    """Learning-rate schedule.  Default: constant under `fair`, the published one under `paper`."""
    precision: Precision = "float32"
    """bfloat16: matrix products of training have a mantissa of 8 bits, which is several times faster on a GPU with
    tensor cores.  Weights, losses and evaluations stay float32.  A CPU without such instructions is slower."""

    @model_validator(mode="after")
    def _one_length(self) -> TrainingSection:
        if self.updates is not None and self.epochs is not None:
            raise ValueError("give updates or epochs, not both")
        return self

    def overridden_by(self, other: TrainingSection) -> TrainingSection:
        """Return this section with every field that `other` gives."""
        given = other.model_dump(exclude_unset=True)
        kept = self.model_dump(exclude_unset=True)
        if "updates" in given or "epochs" in given:
            kept = {key: value for key, value in kept.items() if key not in ("updates", "epochs")}
        return TrainingSection.model_validate({**kept, **given})


class ModelEntry(Record):
    """A model of a study by name, and the dimensions of its space that the study fixes or restricts."""

    name: str
    """Name of the model, as `harness list` prints it."""
    label: Label | None = Field(default=None, alias="as")
    """Label in tables and folders.  Default: the name with the restricted dimensions."""
    setting: Literal["searched", "published", "published-second"] = "searched"
    """published: the model's published setting without a search, at solved widths under `fair` and at its own widths
    under `paper`.  published-second: the second setting of a row that has two."""
    space: SpaceOverride = {}
    """Dimensions of the model's architecture, fixed or restricted: `{ kernel_size = [3, 5] }`."""


Parameters = Annotated[int, Field(ge=1)]


class TaskEntry(BaseModel):
    """A task of a study.  Keys that are not fields of this record are options of the task."""

    model_config = {"frozen": True, "extra": "allow"}
    __pydantic_extra__: dict[str, ParamValue]

    name: str
    """Name of the task, as `harness list` prints it."""
    label: Label | None = Field(default=None, alias="as")
    """Label in tables and folders.  Default: the name with the options that differ from the defaults."""
    parameters: Literal["published"] | Parameters | Annotated[list[Parameters], Field(min_length=1)] = "published"
    """Parameter budget of every network; published: the size in the paper's table.  A list such as [5_000, 20_000]
    makes one task per size, labelled with the size: adding-5k, adding-20k."""
    training: TrainingSection = TrainingSection()
    """Keys of `[training]` that differ for this task."""
    resources: Resources | None = None
    """Replaces `[resources]` for this task."""

    @field_validator("parameters")
    @classmethod
    def _distinct_sizes(cls, parameters: str | int | list[int]) -> str | int | list[int]:
        """Return a list of one size as that size.  Raises ValueError if a size is given twice."""
        if not isinstance(parameters, list):
            return parameters
        twice = next((size for size in parameters if parameters.count(size) > 1), None)
        if twice is not None:
            raise ValueError(f"has {twice:,} twice; give each size once")
        return parameters if len(parameters) > 1 else parameters[0]

    @property
    def options(self) -> dict[str, ParamValue]:
        return dict(self.__pydantic_extra__ or {})

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of a list, in order; empty for a single size."""
        return tuple(self.parameters) if isinstance(self.parameters, list) else ()

    def at_size(self, parameters: int, label: str) -> TaskEntry:
        """Return the entry of one of its sizes.  label: of the whole task."""
        return self.model_copy(update={"parameters": parameters, "label": f"{label}-{size_text(parameters)}"})


class Budget(Record):
    """The budget of every model of a task."""

    trials: int = Field(default=20, ge=1)
    """Search trials per cell; with `search.pruning`, the full trials whose updates a cell uses."""
    repetitions: int = Field(default=5, ge=1)
    """Final trials of each winner with new seeds."""
    tolerance: float = Field(default=0.01, gt=0, lt=1)
    """Largest deviation from the parameter budget, as a share of the count without the embedding."""
    allow_deviation: bool = False
    """Whether a report ranks a model that is off the budget by more than `tolerance`, because one step of its widths
    changes the count by more.  Such a model is marked in any case.  No effect under `paper`."""


class SuccessiveHalving(Record):
    """Stop the worse trials early, so that the same updates try more configurations."""

    kind: Literal["successive-halving"]
    """Trials are compared at rungs of increasing length; the best of a rung train on to the next one."""
    reduction: int = Field(default=3, ge=2)
    """Ratio of the updates of two rungs; one of this many trials trains on."""
    minimum_updates: int = Field(ge=1)
    """Fewest updates of a trial before it may be pruned."""


class Search(Record):
    """How configurations are drawn."""

    sampler: str = Field(default="random", pattern=LABEL)
    """How configurations are drawn: random, quasi-random (a scrambled Sobol sequence), tpe, gp, cmaes, or a plugin's
    sampler.  See `harness list`."""
    seed: int = Field(default=0, ge=0)
    """Seed of the study, from which every other seed is derived."""
    space: SpaceOverride = {}
    """Dimensions that all models share, fixed or restricted."""
    pruning: Literal["none"] | SuccessiveHalving = "none"
    """none: every trial trains to its end.  A table: a cell uses the updates of `budget.trials` full trials for more
    trials, most of which are stopped early."""


class Study(Record):
    """A whole study file."""

    name: Label
    """Name of the study, its folder and its MLflow experiment: a-z, 0-9, '.' and '-'."""
    protocol: Literal["fair", "paper"] = "fair"
    """fair: equal budgets and a search.  paper: published settings as they are, without a search."""
    models: tuple[ModelEntry, ...] = Field(min_length=1)
    """Models to compare."""
    tasks: tuple[TaskEntry, ...] = Field(min_length=1)
    """Tasks to compare them on."""
    budget: Budget = Budget()
    """Tuning budget, equal for every model of a task."""
    training: TrainingSection = TrainingSection()
    """How long one trial trains."""
    search: Search = Search()
    """How configurations are drawn."""
    resources: Resources = Resources()
    """What one trial occupies."""


_KEPT = ascii_lowercase + digits + "."
"""Characters of a label other than the hyphen."""


def label_text(value: object) -> str:
    """Return a text in lower case with hyphens for the characters that a label must not have.  It may be empty."""
    kept = "".join(character if character in _KEPT else "-" for character in str(value).lower())
    return "-".join(part for part in kept.split("-") if part)


def size_text(parameters: int) -> str:
    """Return a number of parameters as labels have it: 5k, 1.2m, 1234.  Different numbers have different texts."""
    for unit, symbol in ((1_000_000, "m"), (1_000, "k")):
        if parameters >= unit and parameters % (unit // 10) == 0:
            return f"{parameters / unit:.1f}".removesuffix(".0") + symbol
    return str(parameters)


def known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that are valid at the place of an unknown key.  location: the key's path from the top table."""
    model: type[BaseModel] = Study
    sections: dict[str, type[BaseModel]] = {
        "models": ModelEntry,
        "tasks": TaskEntry,
        "budget": Budget,
        "training": TrainingSection,
        "search": Search,
        "resources": Resources,
        "schedule": Schedule,
        "pruning": SuccessiveHalving,
    }
    for part in location[:-1]:
        model = sections.get(str(part), model)
    return sorted(field.alias or name for name, field in model.model_fields.items())
