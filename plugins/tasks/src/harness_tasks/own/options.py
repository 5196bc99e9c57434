"""The options of the task `arrays`: how to read a user's file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Score = Literal["accuracy", "balanced-accuracy", "log-loss", "rmse", "mae"]

ENDINGS = (".csv", ".tsv", ".tab", ".parquet", ".npz", ".npy")
MOST_COUNTED = 100
"""Most classes that are counted one by one for the balanced accuracy."""
Label = int | float | bool | str
"""Name of a class, a sequence or a group."""

OwnPath = Annotated[str, Field(min_length=1), AfterValidator(lambda path: str(Path(path).expanduser().absolute()))]
"""A path that becomes absolute from the folder of the first process, the driver."""

TAB = "\t"
MARKS = {"tab": TAB, r"\t": TAB, "space": " "}
"""Name → delimiter that is hard to write on a command line."""
Delimiter = Annotated[str, AfterValidator(lambda mark: MARKS.get(mark, mark))]
Name = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) is int else name)]
"""Name of a column; columns without names in the file are called 0, 1, …"""


class Options(BaseModel):
    """Which column is what, how the file is split, and what is scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: OwnPath
    """The file: .csv, .tsv, .parquet, .npz or .npy."""
    target: Name | None = None
    """Column, or array of an .npz file, to predict; the column of a file of one column is its target."""
    sequence: Name | None = None
    """Column that has the same value in all rows of a sequence; None: one long series, or the first axis of arrays."""
    time: Name | None = None
    """Column of numbers or dates that orders the rows of a sequence; None: the order of the file."""
    time_format: str | None = None
    """Format of times in text, as in strptime: '%d.%m.%Y %H:%M'; None: year first, as 2024-01-31 or 2024/01/31."""
    wide: bool = False
    """Whether each row of a table is a whole sequence and its columns are the steps in order; a row may end early."""
    kind: Literal["auto", "classification", "regression"] = "auto"
    """auto: text, true and false, and at most 20 different whole numbers are classes."""
    readout: Literal["auto", "last", "each"] = "auto"
    """One answer per sequence or per step; auto: last if the target is the same in all rows of each sequence."""
    horizon: int = Field(default=0, ge=0)
    """Steps from the present to the target; if at least 1, the present value or class is an input."""
    length: int | None = Field(default=None, ge=2)
    """Steps of the windows that long series are cut into if every step has an answer; None: whole sequences, or for one
    series a fortieth of it, at least 5 and at most 100."""
    across_gaps: bool = False
    """Whether windows reach across gaps in `time`: steps more than 1.5 times as long as the usual ones."""
    split: Literal["auto", "random", "ordered"] = "auto"
    """random: by sequence; ordered: the past trains, the future tests; auto: ordered if there is one series."""
    split_column: Name | None = None
    """Column with the values train, validation and test."""
    validation_data: OwnPath | None = None
    """A separate file for validation, read like `data`."""
    test_data: OwnPath | None = None
    """A separate file for the test, read like `data`."""
    validation: float = Field(default=0.15, gt=0, lt=0.9)
    """Fraction held out for validation if neither a column nor a file decides."""
    test: float = Field(default=0.15, gt=0, lt=0.9)
    """Fraction held out for the test if neither a column nor a file decides."""
    split_seed: int = Field(default=0, ge=0)
    """Seed of the random split; a file has one split, independent of the seeds of a study."""
    group: Name | None = None
    """Column whose equal values stay in one split, such as a patient or a device."""
    drop: Name = ""
    """Columns that are not inputs, separated by commas; quote a name that has a comma: `"RH, %",wind`."""
    keep: Name = ""
    """Columns that are inputs although they look like the target or, in a wide table, like names of its rows."""
    score: Literal["auto", "accuracy", "balanced-accuracy", "log-loss", "rmse", "mae"] = "auto"
    """Metric that ranks; auto: rmse, or accuracy, balanced if one class is over 3 times as common as another."""
    margin: float | None = Field(default=None, ge=0)
    """Scores closer than this are equivalent; None: 1 percentage point of accuracy, else a fiftieth of the floor."""
    delimiter: Delimiter | None = None
    """Delimiter of a .csv file: one character, tab or space; None: a tab in .tsv and .tab, else a comma."""
    decimal: Literal[".", ","] = "."
    """Decimal mark of a .csv file."""
    header: bool = True
    """Whether the first line of a .csv file names its columns; else they are called 0, 1, …"""
    missing: str | None = None
    """Words of a .csv file that mean a missing value, separated by commas; None: NA, N/A, NaN, nan, NULL, null,
    None.  An empty field is always missing."""
    inputs: str | None = None
    """Array of an .npz file that holds the inputs; None: x, X, inputs, data or features."""
    lengths: str | None = None
    """Array of an .npz file with the steps of each sequence; None: lengths, if it exists."""

    @model_validator(mode="after")
    def _one_way_to_split(self) -> Options:
        if self.split_column is not None and (self.validation_data or self.test_data or self.split != "auto"):
            raise ValueError("split_column decides the split of each row; leave out split and the files of the splits")
        if self.wide and self.time is not None:
            raise ValueError("wide means that the columns are the steps, in order; leave out time")
        if self.group is not None and self.split == "ordered":
            raise ValueError(
                "group splits whole groups at random, but split = ordered splits by time; leave out one of them"
            )
        if self.validation + self.test >= 0.95:
            raise ValueError(
                f"validation and test take {self.validation + self.test:.0%} of the data; leave more for training"
            )
        return self

    def paths(self) -> tuple[str, ...]:
        """Return the paths of the files, `data` first."""
        return tuple(path for path in (self.data, self.validation_data, self.test_data) if path is not None)
