"""How a user's arrays are to be read: the options of the task `arrays`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Score = Literal["accuracy", "balanced-accuracy", "log-loss", "rmse", "mae"]

ENDINGS = (".csv", ".tsv", ".tab", ".parquet", ".npz", ".npy")
MOST_COUNTED = 100
"""Classes, up to which each is counted by itself for the balanced accuracy."""
Label = int | float | bool | str
"""What a class, a sequence or a group may be called."""

OwnPath = Annotated[str, Field(min_length=1), AfterValidator(lambda path: str(Path(path).expanduser().absolute()))]
"""Taken from the folder of the process that is given it, the driver, and whole from then on."""

TAB = "\t"
MARKS = {"tab": TAB, r"\t": TAB, "space": " "}
"""Delimiters that a command line does not write easily, by name."""
Delimiter = Annotated[str, AfterValidator(lambda mark: MARKS.get(mark, mark))]
Name = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) is int else name)]
"""Of a column; where no line names them they are called 0, 1, …"""


class Options(BaseModel):
    """Which column is what, how the file is split, and what is scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: OwnPath
    """The file: .csv, .tsv, .parquet, .npz or .npy."""
    target: Name | None = None
    """Column, or array of an .npz file, to be predicted; a file of one column is its own target."""
    sequence: Name | None = None
    """Column whose value rows of one sequence share; None: one long series, or the first axis of arrays."""
    time: Name | None = None
    """Column of numbers or dates that orders the rows of a sequence; None: the order of the file."""
    time_format: str | None = None
    """How text says a time, as strptime has it: '%d.%m.%Y %H:%M'; None: the year first, as 2024-01-31 or 2024/01/31."""
    wide: bool = False
    """Whether a row of a table is a whole sequence, its columns the steps in their order; a row may end early."""
    kind: Literal["auto", "classification", "regression"] = "auto"
    """auto: text, true and false, and at most 20 different whole numbers are classes."""
    readout: Literal["auto", "last", "each"] = "auto"
    """One answer a sequence or one a step; auto: last where the target is the same in all rows of each sequence."""
    horizon: int = Field(default=0, ge=0)
    """Steps from the present to the target; if at least 1, the present value or class is an input."""
    length: int | None = Field(default=None, ge=2)
    """Steps of the windows that long series are cut into where every step has an answer; None: whole sequences, and of
    one series a fortieth, at least 5 and at most 100."""
    across_gaps: bool = False
    """Whether windows reach across gaps in `time`: steps more than 1.5 times as long as the usual ones."""
    split: Literal["auto", "random", "ordered"] = "auto"
    """By sequence at random, or past against future; auto: ordered where there is one series."""
    split_column: Name | None = None
    """Column that says train, validation or test."""
    validation_data: OwnPath | None = None
    """A file of its own for validation, read as `data` is."""
    test_data: OwnPath | None = None
    """A file of its own for the test."""
    validation: float = Field(default=0.15, gt=0, lt=0.9)
    """Share held out for validation, where neither a column nor a file says."""
    test: float = Field(default=0.15, gt=0, lt=0.9)
    """Share held out for the test."""
    split_seed: int = Field(default=0, ge=0)
    """Of the random cut; the cut is one a file, whatever the seeds of a study."""
    group: Name | None = None
    """Column whose rows never stand in two splits: a patient, a device."""
    drop: Name = ""
    """Columns that are not inputs, separated by commas; a name with a comma is quoted: `"RH, %",wind`."""
    keep: Name = ""
    """Columns that are inputs although they look like the target, or of a wide table like names of its rows."""
    score: Literal["auto", "accuracy", "balanced-accuracy", "log-loss", "rmse", "mae"] = "auto"
    """What ranks; auto: rmse, or accuracy, balanced where one class is over three times as common as another."""
    margin: float | None = Field(default=None, ge=0)
    """Scores closer than this are equivalent; None: one per cent point of accuracy, else a fiftieth of the floor."""
    delimiter: Delimiter | None = None
    """Of a .csv file: one character, or tab or space; None: a tab in .tsv and .tab, else a comma."""
    decimal: Literal[".", ","] = "."
    """What stands before the decimals in a .csv file."""
    header: bool = True
    """Whether the first line of a .csv file names its columns; else they are called 0, 1, …"""
    missing: str | None = None
    """Words of a .csv file that stand for a missing value, separated by commas; None: NA, N/A, NaN, nan, NULL, null,
    None.  An empty field is always missing."""
    inputs: str | None = None
    """Array of an .npz file that holds the inputs; None: x, X, inputs, data or features."""
    lengths: str | None = None
    """Array of an .npz file with the steps of each sequence; None: lengths, where there is one."""

    @model_validator(mode="after")
    def _one_way_to_split(self) -> Options:
        if self.split_column is not None and (self.validation_data or self.test_data or self.split != "auto"):
            raise ValueError("split_column says which row is in which split; give no split and no file beside it")
        if self.wide and self.time is not None:
            raise ValueError("wide says that the columns are the steps, in their order; give no time beside it")
        if self.group is not None and self.split == "ordered":
            raise ValueError("group keeps groups whole at random, and ordered cuts by time; give one of them")
        if self.validation + self.test >= 0.95:
            raise ValueError(
                f"validation and test take {self.validation + self.test:.0%} of the data; leave more to train"
            )
        return self

    def paths(self) -> tuple[str, ...]:
        """The files, `data` first."""
        return tuple(path for path in (self.data, self.validation_data, self.test_data) if path is not None)
