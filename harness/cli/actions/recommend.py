"""`harness recommend` and `harness predict`: compare models in rounds, and predict with the best one."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from harness.cli.actions import session, study_input
from harness.errors import StudyError
from harness.workflow.question import Question
from harness.workflow.recommend import run_race
from harness.workflow.training import Place


def recommend(question: Question, place: Place, *, fresh: bool) -> int:
    """Run the race, print the recommendation and write it to the study's folder.  Return the exit code."""
    loaded = study_input.load_with_messages()
    try:
        raced = run_race(question.request(loaded.registry), loaded, place, Console(stderr=True), fresh=fresh)
    except KeyboardInterrupt:
        return session.interrupted()
    if raced.recommendation is None:
        typer.echo(session.INCOMPLETE, err=True)
        return 1
    typer.echo(raced.recommendation.page())
    return 1 if raced.error or raced.recommendation.verdict == "failed" else 0


def predict(folder: Path, rows: Path, output: Path | None) -> None:
    """Predict the rows of a file with a study's winner, and print or write the predictions as CSV."""
    from harness.plugin.process_settings import output_to_stderr
    from harness.recommendation.predictor import load_winner

    with output_to_stderr():  # a model or a task that prints must not add lines to the table
        predictions = load_winner(folder).predict(rows)
    if output is None:
        typer.echo(predictions.to_csv(index=False), nl=False)
        return
    try:
        predictions.to_csv(output, index=False)
    except OSError as error:
        raise StudyError(f"--output {output}: cannot be written ({error.strerror or error})") from error
