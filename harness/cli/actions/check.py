"""`harness check`: run the checks of a model, a task or a sampler and print their results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from harness.cli.actions.study_input import load_with_messages
from harness.errors import StudyError, UnknownNameError, did_you_mean
from harness.plugin.registry import Registry
from harness.records import ParamValue
from harness.study.overrides import parse_assignment
from harness.testing import (
    MODEL_CHECKS,
    SAMPLER_CHECKS,
    TASK_CHECKS,
    CheckResult,
    ModelSubject,
    SamplerSubject,
    TaskSubject,
)
from harness.testing.outcomes import refuse_unknown, run_checks

Subject = ModelSubject | TaskSubject | SamplerSubject
MARKS = {
    "passed": "[green]passed[/]",
    "failed": "[red]FAILED[/]",
    "not applicable": "[dim]not applicable[/]",
    "failed as expected": "[yellow]failed as expected[/]",
    "passed unexpectedly": "[red]PASSED UNEXPECTEDLY[/]",
}


def check(name: str, assignments: Sequence[str], expected: Sequence[str]) -> int:
    """Print one line per check.  Return 1 if a check failed, or passed although it was expected to fail; else 0."""
    registry = load_with_messages().registry
    subjects = list(_subjects(registry, name, assignments))
    reasons = _reasons(expected)
    refuse_unknown(reasons, (*MODEL_CHECKS, *TASK_CHECKS, *SAMPLER_CHECKS))
    results = [result for subject in subjects for result in _results(subject, reasons)]
    Console(width=None if Console().is_terminal else 160).print(_table(results))
    typer.echo(f"{len(results)} checks of {', '.join(subject.name for subject in subjects)}: {_verdict(results)}")
    return 0 if all(result.good for result in results) else 1


def _verdict(results: Sequence[CheckResult]) -> str:
    failed = [result for result in results if not result.good]
    if len(failed) < 2:
        return f"{len(failed) or 'none'} failed"
    return f"{len(failed)} failed; begin with {failed[0].check}, which may be the cause of the others"


def _subjects(registry: Registry, name: str, assignments: Sequence[str]) -> Iterator[Subject]:
    """Yield the model, task or sampler of this name, or those of the package of this name.

    Raises UnknownNameError if there is none, StudyError if assignments are given for more than one.
    """
    models = [entry for entry in registry.models.values() if name in (entry.name, entry.plugin.name)]
    tasks = [entry for entry in registry.tasks.values() if name in (entry.name, entry.plugin.name)]
    samplers = [entry for entry in registry.samplers.values() if name in (entry.name, entry.plugin.name)]
    if not models and not tasks and not samplers:
        known = {*registry.models, *registry.tasks, *registry.samplers, *(plugin.name for plugin in registry.plugins)}
        installed = ", ".join(sorted(known)) or "nothing"
        raise UnknownNameError(
            f"no model, task, sampler or package {name!r} is installed;{did_you_mean(name, known)} Installed: "
            f"{installed}"
        )
    given = dict(_assignment(text) for text in assignments)
    if given and (len(models) + len(tasks) > 1 or samplers):
        raise StudyError(
            f"check: {min(given)!r} can be given to one model or one task, and {name!r} is something else; name one of "
            "them instead"
        )
    for model in models:
        yield ModelSubject(model.value, given)
    without_file = registry.default_tasks()
    for task in tasks:
        if task.name != name and task.name not in without_file:
            continue  # a task that needs a user-supplied file is checked only by its own name
        yield TaskSubject(registry.make_task(task.name, given))
    for sampler in samplers:
        yield SamplerSubject(sampler.name, sampler.value)


def _assignment(text: str) -> tuple[str, ParamValue]:
    key, value = parse_assignment(text)
    if isinstance(value, list):
        raise StudyError(f"check: {key!r} takes one value, got a list; give a single value")
    return key, None if value == "none" else value


def _reasons(expected: Sequence[str]) -> dict[str, str]:
    reasons = {}
    for text in expected:
        check_name, separator, reason = text.partition("=")
        if not separator or not reason:
            raise StudyError(f"--expect {text!r}: give a check and why it fails, as --expect check_name='reason'")
        reasons[check_name] = reason
    return reasons


def _results(subject: Subject, reasons: dict[str, str]) -> list[CheckResult]:
    """Run the checks one by one; a terminal shows the check that runs."""
    of_kind = {ModelSubject: MODEL_CHECKS, TaskSubject: TASK_CHECKS, SamplerSubject: SAMPLER_CHECKS}
    checks = of_kind[type(subject)]
    console = Console(stderr=True)
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=console, transient=True) as progress:
        line = progress.add_task(subject.name)
        results: list[CheckResult] = []
        for check_ in checks:
            progress.update(line, description=escape(f"{subject.name}: {check_.__name__}"))
            expected = {key: reason for key, reason in reasons.items() if key == check_.__name__}
            results += run_checks(subject, subject.name, (check_,), expected)  # type: ignore[arg-type]
    return results


def _table(results: Sequence[CheckResult]) -> Table:
    table = Table()
    for heading in ("subject", "check", "result", "time (s)", "finding"):
        table.add_column(heading, justify="right" if heading == "time (s)" else "left", overflow="fold")
    previous, first_check = "", dict[tuple[str, str], str]()
    for result in results:
        subject = escape(result.subject) if result.subject != previous else ""
        earlier = first_check.setdefault((result.subject, result.reason), result.check)
        repeated = result.status == "failed" and earlier != result.check
        finding = f"the same as {earlier}" if repeated else escape(result.reason)
        table.add_row(subject, result.check, MARKS[result.status], f"{result.seconds:.1f}", finding)
        previous = result.subject
    return table
