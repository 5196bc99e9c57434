"""Results of a study as data frames, figures and reports."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from harness.analysis.stored_study import StoredStudy, of_ledger
from harness.errors import LedgerError, StudyError, TrackingError, UnknownNameError, did_you_mean
from harness.ledger.exported import read_folder
from harness.ledger.folder import read_manifest
from harness.ledger.journal import Snapshot
from harness.plugin.local import NO_CLASSES, LocalClasses
from harness.records import LABEL
from harness.report import frames
from harness.report.formats import FORMATS, figures, to_html, to_summary
from harness.report.report import Report, build_report
from harness.tracking.client import store_uri
from harness.tracking.reader import read_store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from harness.recommendation.predictor import Winner

NAMED = re.compile(f"{LABEL.removesuffix('$')}/[^/]+")
"""A study in MLflow as NAME/ID, which a path may look like, too."""


class Results:
    """The results of one study.  The columns of its frames are declared in `harness.report.columns`.

    Each frame is made when it is first read and then kept; copy it before changing it.
    """

    def __init__(self, stored: StoredStudy, folder: Path | None = None, local: LocalClasses = NO_CLASSES) -> None:
        self.stored = stored
        self.local = local
        """Models and tasks of the study that no package provides."""
        self.folder = folder
        """Folder of the study; None if it was read from MLflow."""

    @property
    def name(self) -> str:
        return self.stored.manifest.study

    @property
    def study_id(self) -> str:
        return self.stored.manifest.study_id

    @cached_property
    def content(self) -> Report:
        """The comparison of each task, from which reports are written."""
        return build_report(self.stored)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial: cell, phase, configuration, size, seeds, outcome, score, costs."""
        return frames.trials(self.stored)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per final trial, split and metric, with the published value and the baseline."""
        return frames.scores(self.stored)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row per trial, evaluation and quantity (long format)."""
        return frames.curves(self.stored)

    @cached_property
    def comparison(self) -> pd.DataFrame:
        """One row per cell: the table of the report, and what `harness report` writes as CSV and Parquet."""
        return frames.comparison(self.content)

    @cached_property
    def decisions(self) -> pd.DataFrame:
        """One row per two models of a task: which is better, from repetitions with the same seeds."""
        return frames.decisions(self.content)

    @cached_property
    def leader_changes(self) -> pd.DataFrame:
        """The sizes at which the leading model changes, for every task that the study has at several sizes."""
        return frames.leader_changes(self.content)

    @cached_property
    def best_of_k(self) -> pd.DataFrame:
        """The expected validation score of the best of k search trials, for every k."""
        return frames.best_of_k(self.content)

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """The figures of the report, as matplotlib's, by name."""
        return figures([self.content])

    def figure(self, name: str) -> Figure:
        """Return one figure of the report.  Raises StudyError if there is none of this name."""
        if name not in self.figures:
            known = ", ".join(self.figures) or "none"
            raise StudyError(f"no figure {name!r};{did_you_mean(name, self.figures)} Figures: {known}")
        return self.figures[name]

    def winner(self, task: str | None = None, model: str | None = None) -> Winner:
        """Return the best trained model of a task, or another one by its label, ready for predictions.

        Raises LedgerError if the results were read from MLflow or hold no trained model, StudyError if several tasks
        could be meant.
        """
        if self.folder is None:
            raise LedgerError(f"study {self.name!r} was read from MLflow; load the model from there with mlflow.pyfunc")
        from harness.recommendation.predictor import load_winner  # imports PyTorch

        return load_winner(self.folder, task, model, local=self.local)

    def report(self, format: str = "markdown") -> str | bytes:  # the word of `harness report --format`
        """Return the report as "markdown", "html", "latex", "csv" or "parquet" (bytes)."""
        if format not in FORMATS:
            raise StudyError(f"format {format!r}:{did_you_mean(format, FORMATS)} Known: {', '.join(FORMATS)}")
        return FORMATS[format](self.content)

    def summary(self) -> str:
        """Return the comparison as Markdown."""
        return to_summary(self.content)

    def _repr_html_(self) -> str:
        return to_html(self.content)

    def __repr__(self) -> str:
        ended = sum(entry.result is not None for entry in self.stored.entries)
        return f"Results({self.name!r}, id {self.study_id}: {ended} trials of {len(self.stored.cells)} cells)"


def results_of(snapshot: Snapshot, local: LocalClasses = NO_CLASSES) -> Results:
    """Return the results in a study's folder.  local: its models and tasks that no package provides."""
    return Results(of_ledger(snapshot), snapshot.folder, local)


def load_results(study: str | os.PathLike[str], tracking_uri: str | None = None) -> Results:
    """Return the results of a study that has run.

    study: the folder of the study, such as "runs/quickstart", or one that `harness export` wrote; or, from MLflow, its
    name (the newest of that name) or "NAME/ID".  tracking_uri: of MLflow; None: MLFLOW_TRACKING_URI, or the database
    `mlflow.db` in the current folder.
    Raises LedgerError, UnknownNameError or TrackingError if there is no such study.
    """
    text, folder = os.fspath(study), Path(study)
    if tracking_uri is not None:
        return _from_mlflow(text, tracking_uri)
    if read_manifest(folder) is not None:
        return results_of(read_folder(folder))
    is_path = "/" in text
    fault = "holds no study" if folder.is_dir() else "no such folder"
    way_out = "give the folder of one, such as runs/quickstart"
    if is_path and (folder.is_dir() or NAMED.fullmatch(text) is None):
        raise LedgerError(f"{study}: {fault}; {way_out}")
    try:
        return _from_mlflow(text, store_uri(Path.cwd()))
    except (TrackingError, UnknownNameError) as error:
        if not (is_path or folder.is_dir()):
            raise
        raise type(error)(f"{study}: {fault}, and not found in MLflow ({error}); {way_out}") from error


def _from_mlflow(study: str, uri: str) -> Results:
    """Return the results of a study in MLflow.  study: its name, or NAME/ID."""
    name, _, study_id = study.partition("/")
    return Results(read_store(uri, name, study_id or None, curves=True))
