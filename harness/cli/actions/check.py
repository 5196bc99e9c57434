"""`harness check`."""

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
from harness.testing import MODEL_CHECKS, TASK_CHECKS, CheckResult, ModelSubject, TaskSubject
from harness.testing.outcomes import refuse_unknown, run_checks

MARKS = {
    "passed": "[green]passed[/]",
    "failed": "[red]FAILED[/]",
    "not applicable": "[dim]not applicable[/]",
    "failed as expected": "[yellow]failed as expected[/]",
    "passed unexpectedly": "[red]PASSED UNEXPECTEDLY[/]",
}


def check(name: str, assignments: Sequence[str], expected: Sequence[str]) -> int:
    """Prints a line a check; 1 where one failed, or passed although it was expected to fail."""
    registry = load_with_messages().registry
    subjects = list(_subjects(registry, name, assignments))
    reasons = _reasons(expected)
    refuse_unknown(reasons, (*MODEL_CHECKS, *TASK_CHECKS))
    results = [result for subject in subjects for result in _results(subject, reasons)]
    Console(width=None if Console().is_terminal else 160).print(_table(results))
    typer.echo(f"{len(results)} checks of {', '.join(subject.name for subject in subjects)}: {_verdict(results)}")
    return 0 if all(result.good for result in results) else 1


def _verdict(results: Sequence[CheckResult]) -> str:
    faults = [result for result in results if not result.good]
    if len(faults) < 2:
        return f"{len(faults) or 'none'} to mend"
    return f"{len(faults)} to mend; begin with {faults[0].check}, the others may follow from it"


def _subjects(registry: Registry, name: str, assignments: Sequence[str]) -> Iterator[ModelSubject | TaskSubject]:
    """What bears a name, or what a distribution brings."""
    models = [entry for entry in registry.models.values() if name in (entry.name, entry.plugin.name)]
    tasks = [entry for entry in registry.tasks.values() if name in (entry.name, entry.plugin.name)]
    if not models and not tasks:
        known = {*registry.models, *registry.tasks, *(plugin.name for plugin in registry.plugins)}
        installed = ", ".join(sorted(known)) or "nothing"
        raise UnknownNameError(
            f"no model, task or package {name!r} is installed;{did_you_mean(name, known)} Installed: {installed}"
        )
    given = dict(_assignment(text) for text in assignments)
    if given and len(models) + len(tasks) > 1:
        raise StudyError(f"check: {name!r} is more than one model or task; give {min(given)!r} with the name of one")
    for model in models:
        yield ModelSubject(model.value, given)
    standing = registry.default_tasks()
    for task in tasks:
        if task.name != name and task.name not in standing:
            continue  # of a package, what needs a file of the user's
        yield TaskSubject(registry.make_task(task.name, given))


def _assignment(text: str) -> tuple[str, ParamValue]:
    key, value = parse_assignment(text)
    if isinstance(value, list):
        raise StudyError(f"check: {key!r} takes one value, got a list")
    return key, None if value == "none" else value


def _reasons(expected: Sequence[str]) -> dict[str, str]:
    reasons = {}
    for text in expected:
        check_name, separator, reason = text.partition("=")
        if not separator or not reason:
            raise StudyError(f"--expect {text!r}: give the check and why it may fail: --expect check_name='reason'")
        reasons[check_name] = reason
    return reasons


def _results(subject: ModelSubject | TaskSubject, reasons: dict[str, str]) -> list[CheckResult]:
    """One by one, with the present check shown where a terminal can."""
    checks = MODEL_CHECKS if isinstance(subject, ModelSubject) else TASK_CHECKS
    console = Console(stderr=True)
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=console, transient=True) as progress:
        shown = progress.add_task(subject.name)
        found: list[CheckResult] = []
        for one in checks:
            progress.update(shown, description=escape(f"{subject.name}: {one.__name__}"))
            expected = {key: reason for key, reason in reasons.items() if key == one.__name__}
            found += run_checks(subject, subject.name, (one,), expected)  # type: ignore[arg-type]
    return found


def _table(results: Sequence[CheckResult]) -> Table:
    table = Table()
    for heading in ("subject", "check", "result", "seconds", "what was found"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left", overflow="fold")
    before, first = "", dict[tuple[str, str], str]()
    for result in results:
        subject = escape(result.subject) if result.subject != before else ""
        told = first.setdefault((result.subject, result.reason), result.check)
        repeated = result.status == "failed" and told != result.check
        reason = f"the same as {told}" if repeated else escape(result.reason)
        table.add_row(subject, result.check, MARKS[result.status], f"{result.seconds:.1f}", reason)
        before = result.subject
    return table
