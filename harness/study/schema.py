"""Study files: read, override, validate, write back in full."""

from __future__ import annotations

from string import ascii_lowercase, digits
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from harness.records import Label, ParamValue, Precision, Record, Resources, Schedule

SpaceOverride = dict[str, ParamValue | Annotated[list[ParamValue], Field(min_length=1)]]
"""Dimension → the one value, or the values it may take; "none" stands for None, which TOML lacks."""


class TrainingSection(Record):
    """How long one trial trains; exactly one of `updates` and `epochs` counts, and `epochs` are translated."""

    updates: int | None = Field(default=None, ge=1)
    epochs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    batch_size: int | None = Field(default=None, ge=1)
    """16 under protocol `fair` unless given; the published one under `paper`."""
    evaluations: int = Field(default=20, ge=1)
    """Evaluations on validation, evenly spaced; under `paper` there is one an epoch."""
    patience: int | None = Field(default=None, ge=1)
    """Evaluations without a better score before a trial stops; never unless given."""
    minimum_updates: int = Field(default=0, ge=0)
    seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    evaluation_limit: int | None = Field(default=None, ge=1)
    """Sequences, or windows of a stream, of validation and of test that are scored; all unless given."""
    schedule: Schedule | None = None
    precision: Precision = "float32"
    """bfloat16: products of training in 8 bits of mantissa, which a GPU with tensor cores does several times faster;
    weights, losses and evaluations stay float32.  A CPU without such instructions is slower for it."""

    @model_validator(mode="after")
    def _one_length(self) -> TrainingSection:
        if self.updates is not None and self.epochs is not None:
            raise ValueError("give updates or epochs, not both")
        return self

    def overridden_by(self, other: TrainingSection) -> TrainingSection:
        """Every field that `other` gives, else this one's."""
        given = other.model_dump(exclude_unset=True)
        mine = self.model_dump(exclude_unset=True)
        if "updates" in given or "epochs" in given:
            mine = {key: value for key, value in mine.items() if key not in ("updates", "epochs")}
        return TrainingSection.model_validate({**mine, **given})


class ModelEntry(Record):
    """A model of a study, by name, with what the study fixes or restricts in its space."""

    name: str
    label: Label | None = Field(default=None, alias="as")
    setting: Literal["searched", "published", "published-second"] = "searched"
    """published: the model's published setting at solved widths, without a search, as a row beside the others; under
    `paper`, where nothing is searched, at its own widths.  published-second: the second one of a row that has two."""
    space: SpaceOverride = {}


class TaskEntry(BaseModel):
    """A task of a study; keys that are not fields are options of the task."""

    model_config = {"frozen": True, "extra": "allow"}
    __pydantic_extra__: dict[str, ParamValue]

    name: str
    label: Label | None = Field(default=None, alias="as")
    parameters: Literal["published"] | Annotated[int, Field(ge=1)] = "published"
    training: TrainingSection = TrainingSection()
    resources: Resources | None = None

    @property
    def options(self) -> dict[str, ParamValue]:
        return dict(self.__pydantic_extra__ or {})


class Budget(Record):
    """What every model of a task is granted."""

    trials: int = Field(default=20, ge=1)
    repetitions: int = Field(default=5, ge=1)
    tolerance: float = Field(default=0.01, gt=0, lt=1)
    """Largest deviation from the parameter budget, as a share of the count without the embedding."""


class Search(Record):
    sampler: Literal["random", "tpe", "quasi-random"] = "random"
    seed: int = Field(default=0, ge=0)
    space: SpaceOverride = {}
    """Fixes or restricts the dimensions that all models share."""


class Study(Record):
    """A whole study file."""

    name: Label
    protocol: Literal["fair", "paper"] = "fair"
    models: tuple[ModelEntry, ...] = Field(min_length=1)
    tasks: tuple[TaskEntry, ...] = Field(min_length=1)
    budget: Budget = Budget()
    training: TrainingSection = TrainingSection()
    search: Search = Search()
    resources: Resources = Resources()


_KEPT = ascii_lowercase + digits + "."
"""What a label has beside the hyphen."""


def label_text(value: object) -> str:
    """As much of a text as a label may have; it may be empty."""
    kept = "".join(character if character in _KEPT else "-" for character in str(value).lower())
    return "-".join(part for part in kept.split("-") if part)


def known_keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys that may stand where an unknown one was found."""
    model: type[BaseModel] = Study
    homes: dict[str, type[BaseModel]] = {
        "models": ModelEntry,
        "tasks": TaskEntry,
        "budget": Budget,
        "training": TrainingSection,
        "search": Search,
        "resources": Resources,
        "schedule": Schedule,
    }
    for part in location[:-1]:
        model = homes.get(str(part), model)
    return sorted(field.alias or name for name, field in model.model_fields.items())
