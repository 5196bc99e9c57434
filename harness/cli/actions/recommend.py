"""`harness recommend` and `harness predict`: compare models in rounds, and predict with the best one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console

from harness.cli.actions import session, study_input
from harness.cli.actions.output import print_json
from harness.errors import StudyError
from harness.workflow.question import Question
from harness.workflow.races import run_races
from harness.workflow.recommendation import by_size
from harness.workflow.training import Place


def recommend(
    question: Question, sizes: Sequence[int], place: Place, console: Console, *, fresh: bool, as_json: bool
) -> int:
    """Run the race of each size, print the recommendation and write it to the study's folder.  Return the exit code.

    sizes: parameter budgets; none: the published one.  console: of the progress.
    """
    loaded = study_input.load_with_messages()
    try:
        raced = run_races(question, sizes, loaded, place, console, fresh=fresh)
    except KeyboardInterrupt:
        return session.interrupted()
    found = [each.recommendation for each in raced if each.recommendation is not None]
    if len(found) < len(raced):
        typer.echo(session.INCOMPLETE, err=True)
        return 1
    answer = by_size(found) if len(found) > 1 else found[0]
    if as_json:
        print_json(answer.content.model_dump(mode="json"))
    else:
        typer.echo(answer.page())
    return 1 if any(each.error for each in raced) or any(each.verdict == "failed" for each in found) else 0


@dataclass(frozen=True)
class ModelChoice:
    """Which trained model predicts."""

    study: Path
    """Folder of a study, or its name in `runs`."""
    task: str | None
    model: str | None
    runs: Path

    @property
    def folder(self) -> Path:
        return study_input.located(self.study, self.runs)


WRITERS = {".csv": "to_csv", ".parquet": "to_parquet"}
"""Ending of a file of predictions → method of a data frame."""


def predict(choice: ModelChoice, rows: Path, output: Path | None) -> None:
    """Predict the rows of a file, and print or write the predictions.

    Raises StudyError if the output cannot be written or its ending is unknown, which is found before the prediction.
    """
    from harness.plugin.process_settings import output_to_stderr
    from harness.recommendation.predictor import load_winner

    if output is not None and output.suffix.lower() not in WRITERS:
        raise StudyError(f"--output {output}: give a file that ends in {' or '.join(WRITERS)}")
    with output_to_stderr():  # a model or a task that prints must not add lines to the table
        predictions = load_winner(choice.folder, choice.task, choice.model).predict(rows)
    if output is None:
        typer.echo(predictions.to_csv(index=False), nl=False)
        return
    try:
        getattr(predictions, WRITERS[output.suffix.lower()])(output, index=False)
    except OSError as error:
        raise StudyError(f"--output {output}: cannot be written ({error.strerror or error})") from error
