"""Study files: read, override, validate, write back in full."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_lowercase, digits
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, Field, ValidationError, model_validator

from harness.errors import StudyError, did_you_mean, fault_text, shown
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

PROFILES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "smoke": {
        "budget": {"trials": 1, "repetitions": 1},
        "training": {"seconds": 20.0, "evaluation_limit": 256},
        # One draw a cell, so one that a few updates take below the floor: RMSprop's first steps are ten times its rate.
        "search": {"space": {"optimizer": "adam", "learning_rate_factor": 1.0}},
    }
}
"""Name → what replaces a study's values (of any type, hence Any), its tasks' own included.

smoke: does it run from end to end?  Two trials a cell, bounded by seconds, scored on a part of the held-out data.
"""


def read_study_file(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    models: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    profile: str | None = None,
) -> Study:
    """The study in a TOML file under a profile, then after `overrides` (`budget.trials=3`), with only these `models`
    and `tasks` where given."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StudyError(f"{path}: no such file; the shipped ones are in studies/") from error
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StudyError(f"{path}: not a TOML file ({error})") from error
    return study_of(data, overrides, models=models, tasks=tasks, profile=profile, source=str(path))


def study_of(
    data: dict[str, Any],
    overrides: Sequence[str],
    *,
    models: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    profile: str | None = None,
    source: str,
) -> Study:
    """The study in the tables of a file (hence Any), which are changed, as `read_study_file` has it."""
    if profile is not None:
        _apply_profile(data, profile)
    for override in overrides:
        _override(data, override)
    if models is not None:
        data["models"] = _selected(data.get("models"), models)
    if tasks is not None:
        data["tasks"] = _chosen_tasks(data.get("tasks"), tasks, source=source)
    return parse_study(data, source=source)


def _selected(entries: Any, names: Sequence[str]) -> list[Any]:
    """The study's entries of each label, else of each name; a name it lacks stands for that model, unrestricted."""
    known = entries if isinstance(entries, list) else []
    chosen: list[Any] = []
    for name in names:
        of_label = [entry for entry in known if _label_of(entry) == name]
        of_name = [entry for entry in known if isinstance(entry, dict) and entry.get("name") == name]
        chosen += of_label or of_name or [name]
    return chosen


def _chosen_tasks(entries: Any, names: Sequence[str], source: str) -> list[Any]:
    """The study's entries of these labels, else of these names."""
    known = entries if isinstance(entries, list) else []
    chosen: list[Any] = []
    for name in names:
        of_label = [entry for entry in known if _label_of(entry) == name]
        of_name = [entry for entry in known if _name_of(entry) == name]
        if not (of_label or of_name):
            labels = [str(_label_of(entry)) for entry in known]
            raise StudyError(
                f"{source}: has no task {name!r};{did_you_mean(name, labels)} Its tasks: {', '.join(labels)}"
            )
        chosen += of_label or of_name
    return chosen


def _apply_profile(data: dict[str, Any], name: str) -> None:
    """Set the profile's values in the tables of a study file (hence Any), whose name says so."""
    if name not in PROFILES:
        raise StudyError(f"--profile {name!r}:{did_you_mean(name, PROFILES)} Known: {', '.join(PROFILES)}")
    for section, values in PROFILES[name].items():
        if section == "search" and _has_published_settings(data):
            continue  # they have an optimiser and a rate of their own
        own = data.setdefault(section, {})
        if isinstance(own, dict):
            own |= {key: _under(own.get(key), value) for key, value in values.items()}
    tasks = data.get("tasks")
    for task in tasks if isinstance(tasks, list) else []:
        if isinstance(task, dict) and isinstance(task.get("training"), dict):
            task["training"] = {k: v for k, v in task["training"].items() if k not in PROFILES[name]["training"]}
    if "name" in data:
        data["name"] = f"{data['name']}-{name}"


def _has_published_settings(data: Mapping[str, Any]) -> bool:
    models = data.get("models")
    entries = [entry for entry in models if isinstance(entry, dict)] if isinstance(models, list) else []
    return data.get("protocol") == "paper" or any(entry.get("setting", "searched") != "searched" for entry in entries)


def _under(own: Any, value: Any) -> Any:
    """A profile's value; of a table, what the study does not say itself."""
    if own is None or not isinstance(value, dict):
        return value
    return {**value, **own} if isinstance(own, dict) else own


def parse_study(data: Mapping[str, Any], source: str) -> Study:
    """Validate what a TOML file holds (hence Any); the first fault is told with its place."""
    tables = _as_tables(data)
    try:
        # Strict: a string where a number belongs is a mistake, not a number.
        return Study.model_validate(tables, strict=True)
    except ValidationError as error:
        raise StudyError(f"{source}: {_first_fault(error, tables)}") from error


def study_toml(study: Study) -> str:
    """The whole study, defaults included, as TOML; read back, it is equal."""
    whole = study.model_dump(mode="json", by_alias=True)
    # A task's own sections hold what overrides the study's: their defaults must stay unsaid.
    given = study.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return tomli_w.dumps(_without_none({**whole, "models": given["models"], "tasks": given["tasks"]}))


def label_text(value: object) -> str:
    """As much of a text as a label may have; it may be empty."""
    kept = "".join(character if character in _KEPT else "-" for character in str(value).lower())
    return "-".join(part for part in kept.split("-") if part)


def parse_value(text: str) -> ParamValue | list[Any]:
    """A value from the command line, written as TOML; a bare word is a string, `none` is no value (hence Any)."""
    if text == "none":
        return None
    try:
        document: dict[str, ParamValue | list[Any]] = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    # A line break may smuggle in further keys, which would be lost.
    return document["value"] if document.keys() == {"value"} else text


def parse_assignment(text: str) -> tuple[str, ParamValue | list[Any]]:
    """`key=value` → key and value."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise StudyError(f"{text!r}: expected key=value, as budget.trials=3")
    return key.strip(), parse_value(value.strip())


def _override(data: dict[str, Any], text: str) -> None:
    path, value = parse_assignment(text)
    *parents, last = path.split(".")
    if not all((*parents, last)):
        raise StudyError(f"{text!r}: {path!r} has an empty part; expected key=value, as budget.trials=3")
    place: Any = data
    for index, part in enumerate(parents):
        place = _of_list(place, part, text) if isinstance(place, list) else place.setdefault(part, {})
        if not isinstance(place, dict | list):
            raise StudyError(f"{text!r}: {'.'.join(parents[: index + 1])} is a value, not a table")
    if isinstance(place, list):
        raise StudyError(f"{text!r}: name what to set in it, as tasks.0.length=200")
    if value is None and parents[-1:] == ["space"]:
        place[last] = "none"
    elif value is None and (last in place or last in _known_keys((*parents, last))):
        place.pop(last, None)
    else:
        place[last] = value


def _of_list(entries: list[Any], part: str, text: str) -> Any:
    """An entry of [[tasks]] or models by its index, its label or its name."""
    by_label = [index for index, entry in enumerate(entries) if _label_of(entry) == part]
    by_name = [index for index, entry in enumerate(entries) if _name_of(entry) == part]
    by_index = [index for index in range(len(entries)) if part == str(index)]
    found = by_index or by_label or by_name
    if not found:
        raise StudyError(f"{text!r}: there is no entry {part!r}; use its index, from 0, or its name")
    if len(found) > 1:
        raise StudyError(f"{text!r}: {len(found)} entries are called {part!r}; use an index, from 0, or a label")
    if isinstance(entries[found[0]], str):
        entries[found[0]] = {"name": entries[found[0]]}
    return entries[found[0]]


def _first_fault(error: ValidationError, data: Mapping[str, Any]) -> str:
    """What is wrong and where, in the words of the file; an unknown key first, as it may explain a missing one."""
    faults = error.errors()
    fault = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    location = fault["loc"]
    place, given = _place(location, data)
    where = ".".join(map(str, place))
    if len(place) < len(location) and fault["type"] != "missing":
        return f"{where!r} must be {_of_union(place)}, got {shown(given)}"
    if place == ("tasks",):
        return f"'tasks' must be a list of tables, each begun with [[tasks]], got {shown(given)}"
    match fault["type"]:
        case "missing":
            return f"{'.'.join(map(str, location))!r} is missing"
        case "extra_forbidden":
            known = _known_keys(location)
            return f"unknown key {where!r};{did_you_mean(str(location[-1]), known)} Known: {', '.join(known)}"
        case "string_pattern_mismatch":
            return f"{where!r} is {given!r}; a label has only a-z, 0-9, '.' and '-', and begins with a letter or digit"
    return fault_text(where, given, kind=fault["type"], message=fault["msg"], limits=fault.get("ctx", {}))


def _place(location: tuple[int | str, ...], data: Mapping[str, Any]) -> tuple[tuple[int | str, ...], Any]:
    """As much of a location as the data have, and what stands there; the rest names the branches of a union."""
    value: Any = data
    for depth, part in enumerate(location):
        in_table = isinstance(value, dict) and part in value
        in_list = isinstance(value, list | tuple) and isinstance(part, int)
        if not (in_table or in_list):
            return location[:depth], value
        value = value[part]
    return location, value


def _of_union(place: tuple[int | str, ...]) -> str:
    if "space" in place[:-1]:
        return "a number, a string, true, false, or a list of such that is not empty"
    if place[-1] == "parameters":
        return '"published" or a whole number of at least 1'
    return "a number, a string, true or false"


def _name_of(entry: object) -> object:
    return entry.get("name") if isinstance(entry, dict) else entry


def _label_of(entry: object) -> object:
    return entry["as"] if isinstance(entry, dict) and "as" in entry else _name_of(entry)


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
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


def _as_tables(data: Mapping[str, Any]) -> dict[str, Any]:
    """Models given by name alone become tables; lists of tables become tuples, as strict validation wants them."""
    shaped = dict(data)
    if isinstance(models := data.get("models"), list):
        shaped["models"] = tuple({"name": entry} if isinstance(entry, str) else entry for entry in models)
    if isinstance(tasks := data.get("tasks"), list):
        shaped["tasks"] = tuple(tasks)
    return shaped


def _without_none(value: Any) -> Any:
    """TOML has no null: a key that is absent stands for it."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return ["none" if item is None else _without_none(item) for item in value]
    return value
