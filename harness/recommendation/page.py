"""A recommendation as a page: the answer first, then the numbers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tomli_w

from harness.analysis.statistics import Interval
from harness.recommendation.pairwise import MOST_NEEDED, POWER
from harness.recommendation.result import Candidate, Recommendation, postponed_text, train_command
from harness.report.document import NOTHING, Block, Datum, Heading, Notes, Paragraph, Table, quote
from harness.report.formatting import count, mean_interval, number, of_count, of_number, percent
from harness.report.sections.evidence import margin_of
from harness.report.writers import markdown

AT_FLOOR = "no better than the floor"


def page(answer: Recommendation, folder: Path) -> str:
    """Return the page as Markdown.  folder: the study's folder, for the commands that the page shows."""
    heading, sentence = Heading(_title(answer), 1), Paragraph(_sentence(answer) + _remarks(answer))
    blocks: list[Block] = [heading, sentence, _table(answer), Notes(_reading(answer))]
    parts = [markdown.render([*blocks, *_cost(answer)])]
    if answer.winner is not None:
        parts.append(_winner(answer, folder))
    return "\n".join([*parts, markdown.render([Heading("What is claimed", 2), Notes(_claims(answer))])])


def brief(answer: Recommendation) -> str:
    """Return the answer in one line."""
    return f"{_title(answer)}. {_sentence(answer)}{_remarks(answer)}"


def _remarks(answer: Recommendation) -> str:
    """Name the models that were not trained at the budget, and those that were postponed; '' if there are none."""
    marked = [
        f"{candidate.model} ({percent(candidate.deviation_percent)})"
        for candidate in answer.candidates
        if candidate.deviation_percent is not None
    ]
    off_budget = f" Off the parameter budget by more than the tolerance: {', '.join(marked)}." if marked else ""
    return off_budget + (f" {postponed_text(answer.postponed)}" if answer.postponed else "")


def _title(answer: Recommendation) -> str:
    match answer.verdict:
        case "best" | "alone":
            what = f"use {answer.model}"
        case "equivalent":
            what = f"use {' or '.join([answer.model or NOTHING, *answer.equivalent])}"
        case "undecided":
            what = "inconclusive"
        case _:
            what = "no recommendation"
    return f"{answer.cell}: {what}"


def _sentence(answer: Recommendation) -> str:
    first, metric = answer.candidates[0], answer.metric
    others = len(answer.candidates) - 1
    match answer.verdict:
        case "best":
            return (
                f"{answer.model} has the best mean test {metric.name} of {others + 1} models with probability "
                f"{chance(answer.probability)}; the race found each of the others to be worse."
            )
        case "alone":
            compared = " that was compared" if answer.postponed else ""
            return f"{answer.model} is the only model{compared}; it is better than the floor."
        case "equivalent":
            return (
                f"{answer.model} leads and is the best with probability {chance(answer.probability)}; "
                f"{' and '.join(answer.equivalent)} {'is' if len(answer.equivalent) == 1 else 'are'} within "
                f"{margin_of(metric)} of it, the task's margin.{_fastest(answer)}"
            )
        case "undecided":
            return _inconclusive(answer, first)
        case "nothing-learned":
            return (
                f"Nothing was learned: no model is better than the floor, {metric.name} {number(answer.floor)}, by "
                f"more than {margin_of(metric)} in most of {first.repetitions} repetitions. A ranking of the models "
                "would not be meaningful. Give more updates or parameters, or check the data."
            )
        case "failed":
            return f"No repetition of any model has a score: {quote(first.reason) or 'none was trained'}."


def _inconclusive(answer: Recommendation, first: Candidate) -> str:
    opened = [candidate.model for candidate in answer.candidates if candidate.place == "open"]
    why = (
        f"{' and '.join(opened)} may be as good or better: {first.repetitions} repetitions are not enough for a "
        "decision"
        if opened
        else "it is not certain that it is better than the floor: more repetitions or more test data would decide"
    )
    return (
        f"{first.model} leads and is the best with probability {chance(answer.probability)}, but {why}. If you must "
        f"choose now, take {first.model}."
    )


def _fastest(answer: Recommendation) -> str:
    candidates = [
        candidate
        for candidate in answer.candidates
        if candidate.place in ("leader", "equivalent") and candidate.seconds is not None
    ]
    fastest = min(candidates, key=lambda candidate: candidate.seconds or 0, default=None)
    return f" {fastest.model} trains fastest." if fastest is not None else ""


def chance(probability: float | None) -> str:
    """Return a probability with two digits, never as 1 or 0: there are too few draws and models for that."""
    if probability is None:
        return NOTHING
    return "> 0.99" if probability > 0.99 else "< 0.01" if probability < 0.01 else f"{probability:.2f}"


def _table(answer: Recommendation) -> Table:
    name = f"test {answer.metric.name}" + (f", {answer.metric.unit}" if answer.metric.unit else "")
    header = ("model", "compared with leader", "P(best)", f"{name} (mean, 95 % CI)", "better than floor", "leader wins",
              "repetitions", "repetitions needed", "training time (s)", "parameters")  # fmt: skip
    return Table(header, tuple(_row(candidate, answer) for candidate in answer.candidates))


def _row(candidate: Candidate, answer: Recommendation) -> tuple[Datum, ...]:
    span, wins, mean = candidate.interval, candidate.wins, candidate.mean
    interval = Interval(span.low, span.high, 0.95) if span is not None else None
    at_floor = answer.verdict == "nothing-learned" and candidate.place != "failed"
    return (
        Datum(candidate.model, strong=candidate.model == answer.model),
        Datum(AT_FLOOR if at_floor else _place(candidate)),
        Datum(NOTHING) if at_floor else Datum(chance(candidate.probability), candidate.probability),
        Datum(mean_interval(mean, interval) if mean is not None else NOTHING, mean),
        Datum(candidate.learned if answer.floor is not None else NOTHING),
        Datum(f"{wins} of {candidate.shared}" if wins is not None else NOTHING, wins),
        of_count(candidate.repetitions),
        Datum(_needed(candidate) if candidate.place == "open" else count(candidate.needed), candidate.needed),
        of_number(candidate.seconds),
        Datum(_parameters(candidate), candidate.parameters),
    )


def _parameters(candidate: Candidate) -> str:
    mark = "" if candidate.deviation_percent is None else f" (off budget {percent(candidate.deviation_percent)})"
    return count(candidate.parameters) + mark


def _place(candidate: Candidate) -> str:
    if candidate.place == "failed":
        return f"FAILED: {quote(candidate.reason)}"
    if candidate.place == "lost" and candidate.dropped is not None:
        return f"lost after {candidate.dropped}"
    return candidate.place


def _needed(candidate: Candidate) -> str:
    """Return the repetitions that an open comparison needs for a decision."""
    return f"over {MOST_NEEDED:,}" if candidate.needed is None else count(candidate.needed)


def _reading(answer: Recommendation) -> tuple[str, ...]:
    error = f"{100 * (1 - answer.confidence):g} %"
    return (
        "P(best): probability that the model's mean over new seeds is the best, under a hierarchical normal model "
        "(approximate). For a model that left the race: probability that it is better than the leader.",
        f"lost, equivalent: Student's t over paired repetitions, at an error of {error} over all pairs of models and "
        f"all looks, those of later extensions included. {_planned(answer.looks)} A score worse than the floor counts "
        "as the floor. lost: failures too rare to be seen would not reverse the difference. equivalent: the whole "
        "interval is within the margin; failures in fewer than 10 % of trainings may remain unseen.",
        f"repetitions needed: for a decision with probability {POWER:g}, if the observed difference is the true one.",
        *answer.notes,
    )


def _planned(looks: int) -> str:
    return f"{looks} {'look was' if looks == 1 else 'looks were'} planned."


def _cost(answer: Recommendation) -> list[Block]:
    """Return what a decision would take, if the answer is inconclusive."""
    opened = [candidate for candidate in answer.candidates if candidate.place == "open"]
    if not opened or answer.verdict != "undecided":
        return []
    listed = ", ".join(f"{candidate.model} {_needed(candidate)}" for candidate in opened)
    if answer.hours is None:
        advice = "no practical number of repetitions separates them; choose by other criteria, such as speed or memory."
    else:
        advice = (
            f"about {duration(answer.hours)} more at the measured speed, with {answer.slots} trials at the same time. "
            f"Run the same command again{_options(answer, opened)} to resume."
        )
    return [Heading("What a decision would take", 2), Paragraph(f"Repetitions in all: {listed}; {advice}")]


def _options(answer: Recommendation, opened: Sequence[Candidate]) -> str:
    """Return the options that the same command needs to decide the open comparisons.

    A resumed race refuses fewer repetitions than were requested, so they are named only if they must grow.
    """
    needed = max(candidate.needed or 0 for candidate in opened)
    repetitions = [f"--repetitions {needed}"] if needed > (answer.asked_repetitions or 0) else []
    time = ["more --minutes"] if answer.out_of_time else []
    return f" with {' and '.join([*repetitions, *time])}" if repetitions or time else ""


def duration(hours: float) -> str:
    """Return a time in the unit that fits: seconds, minutes or hours."""
    if hours < 0.025:
        return f"{max(3600 * hours, 1):.0f} s"
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:,.1f} h"


def _winner(answer: Recommendation, folder: Path) -> str:
    winner = answer.winner
    assert winner is not None  # `page` has checked
    trial = winner.trial
    title = "The winner" if answer.model is not None else "The leader (not certain to be the best)"
    settings = {key: "none" if value is None else value for key, value in trial.params.items()}
    lines = [
        f"## {title}",
        "",
        f"{markdown.escape(winner.model)}, widths {' '.join(map(str, trial.widths))}, {trial.parameters:,} parameters. "
        f"Its weights are those of repetition {winner.repetition}, the best on validation "
        f"({number(winner.validation)}); test scores were not used for this choice.",
        "",
        f"```toml\n{tomli_w.dumps(settings)}```",
        "",
        f"```sh\n{train_command(answer)}\n```",
        "",
        "```python",
        "from harness import load_winner",
        "",
        f"winner = load_winner({str(folder)!r})",
        'winner.predict("new-rows.csv")  # for data of your own; otherwise winner.network(tensor)',
        "```",
        "",
    ]
    return "\n".join(lines)


def _claims(answer: Recommendation) -> tuple[str, ...]:
    size = f"{answer.parameters:,} parameters" if answer.parameters is not None else "published sizes"
    return (
        f"The claim is about these configurations: the best of {answer.trials} search trials of each model on "
        f"validation, at {size} and {answer.updates:,} updates, on these data. Another search may find others.",
        "Repetitions differ in the seeds of weights, order and dropout, and of training and validation data if these "
        "are generated. There is one test set. better than floor accounts for how scores vary between test sets of its "
        "size; the comparisons of models do not: they are about this test set.",
        "Validation scores decided which models train on. All claims are about test scores, which were read "
        f"{_reads(answer.test_reads)}.",
        "Nothing is claimed about other sizes, longer training, other data, or architectures in general.",
    )


def _reads(reads: tuple[int, ...]) -> str:
    """Describe how often test scores were read, and after how many repetitions."""
    if not reads:
        return "once"
    times = "once" if len(reads) == 1 else f"{len(reads)} times"
    return f"{times}, after {' and '.join(map(str, reads))} repetitions"
