"""A recommendation as a page that a user with a deadline reads."""

from __future__ import annotations

from pathlib import Path

import tomli_w

from harness import markdown
from harness.claims import margin_of
from harness.document import NOTHING, Block, Datum, Heading, Notes, Paragraph, Table, quote
from harness.pairwise import MOST_NEEDED, POWER
from harness.recommendation import Candidate, Recommendation, train_command
from harness.statistics import Interval
from harness.table import count, mean_interval, number, of_count, of_number


def page(found: Recommendation, folder: Path) -> str:
    """As Markdown.  folder: of the study, as a reader can reach it."""
    heading, sentence = Heading(_title(found), 1), Paragraph(_sentence(found))
    blocks: list[Block] = [heading, sentence, _table(found), Notes(_reading(found))]
    parts = [markdown.render([*blocks, *_cost(found)])]
    if found.winner is not None:
        parts.append(_winner(found, folder))
    return "\n".join([*parts, markdown.render([Heading("What is claimed", 2), Notes(_claims(found))])])


def brief(found: Recommendation) -> str:
    """The answer in one line."""
    return f"{_title(found)}. {_sentence(found)}"


def _title(found: Recommendation) -> str:
    match found.verdict:
        case "best" | "alone":
            what = f"use {found.model}"
        case "equivalent":
            what = f"use {' or '.join([found.model or NOTHING, *found.equivalent])}"
        case "undecided":
            what = "too small to tell"
        case _:
            what = "no recommendation"
    return f"{found.cell}: {what}"


def _sentence(found: Recommendation) -> str:
    first, metric = found.candidates[0], found.metric
    others = len(found.candidates) - 1
    match found.verdict:
        case "best":
            return (
                f"{found.model} has the best mean test {metric.name} of {others + 1} models with probability "
                f"{chance(found.probability)}; the race found each of the others to be worse."
            )
        case "alone":
            return f"{found.model} is the only model; it is better than the floor."
        case "equivalent":
            return (
                f"{found.model} leads and is the best with probability {chance(found.probability)}; "
                f"{' and '.join(found.equivalent)} {'is' if len(found.equivalent) == 1 else 'are'} within "
                f"{margin_of(metric)} of it, the task's margin.{_fastest(found)}"
            )
        case "undecided":
            return _undecided(found, first)
        case "nothing-learned":
            return (
                f"Nothing was learned: no model is better than the floor, {metric.name} {number(found.floor)}, by more "
                f"than {margin_of(metric)} in most of {first.repetitions} repetitions. Which of them is best means "
                "nothing. Give more updates or parameters, or look at the data."
            )
        case "failed":
            return f"No repetition of any model has a score: {quote(first.reason) or 'none was trained'}."


def _undecided(found: Recommendation, first: Candidate) -> str:
    opened = [one.model for one in found.candidates if one.place == "open"]
    why = f"{' and '.join(opened)} may be as good or better" if opened else "that it learned anything is not sure"
    return (
        f"{first.model} leads and is the best with probability {chance(found.probability)}, but {why}: "
        f"{first.repetitions} repetitions do not tell. If you must choose now, take {first.model}."
    )


def _fastest(found: Recommendation) -> str:
    able = [one for one in found.candidates if one.place in ("leader", "equivalent") and one.seconds is not None]
    fastest = min(able, key=lambda one: one.seconds or 0, default=None)
    return f" {fastest.model} trains fastest." if fastest is not None else ""


def chance(probability: float | None) -> str:
    """Two digits, never 1 or 0: draws and models are too few for that."""
    if probability is None:
        return NOTHING
    return "> 0.99" if probability > 0.99 else "< 0.01" if probability < 0.01 else f"{probability:.2f}"


def _table(found: Recommendation) -> Table:
    name = f"test {found.metric.name}" + (f", {found.metric.unit}" if found.metric.unit else "")
    header = ("model", "against the leader", "P(best)", f"{name}: mean [95 %]", "better than floor", "leader wins",
              "repetitions", "would tell", "s a training", "parameters")  # fmt: skip
    return Table(header, tuple(_row(one, found) for one in found.candidates))


def _row(one: Candidate, found: Recommendation) -> tuple[Datum, ...]:
    interval = Interval(one.interval.low, one.interval.high, 0.95) if one.interval is not None else None
    lost = f"FAILED: {quote(one.reason)}" if one.place == "failed" else one.place
    place = f"lost after {one.dropped}" if one.dropped is not None and one.place == "lost" else lost
    more = f"over {MOST_NEEDED:,}" if one.place == "open" and one.needed is None else count(one.needed)
    return (
        Datum(one.model, strong=one.model == found.model),
        Datum(place),
        Datum(chance(one.probability), one.probability),
        Datum(mean_interval(one.mean, interval) if one.mean is not None else NOTHING, one.mean),
        Datum(one.learned if found.floor is not None else NOTHING),
        Datum(f"{one.wins} of {one.shared}" if one.wins is not None else NOTHING, one.wins),
        of_count(one.repetitions),
        Datum(more, one.needed),
        of_number(one.seconds),
        of_count(one.parameters),
    )


def _reading(found: Recommendation) -> tuple[str, ...]:
    error = f"{100 * (1 - found.confidence):g} %"
    return (
        "P(best): probability that the mean over new seeds is the best; hierarchical normal model, approximate. For a "
        "model that left the race: probability that it is better than the leader.",
        f"lost, equivalent: Student's t over paired repetitions, error {error} over all pairs of models and all looks, "
        "those of later extensions included (approximate for small samples of non-normal scores). Scores worse than "
        "the floor count as the floor. lost: failures that the repetitions could not show would not reverse the "
        "difference. equivalent: failures in fewer than 10 % of trainings may remain unseen.",
        f"would tell: repetitions that settle it with probability {POWER:g}, were the seen difference the true one.",
        *found.notes,
    )


def _cost(found: Recommendation) -> list[Block]:
    opened = [one for one in found.candidates if one.place == "open"]
    if not opened or found.verdict != "undecided":
        return []
    listed = ", ".join(f"{one.model} {count(one.needed) if one.needed else f'over {MOST_NEEDED:,}'}" for one in opened)
    hours = (
        f"about {duration(found.hours)} more at the speed measured, {found.slots} at a time. The same command with "
        f"--repetitions {max(one.needed or 0 for one in opened)}"
        + (" and more --minutes" if found.out_of_time else "")
        + " goes on from here."
        if found.hours is not None
        else "no sensible number of repetitions tells them apart: choose by what else matters, as speed or memory."
    )
    return [Heading("What it would take to tell", 2), Paragraph(f"Repetitions in all: {listed}; {hours}")]


def duration(hours: float | None) -> str:
    if hours is None:
        return NOTHING
    return (
        f"{max(3600 * hours, 1):.0f} s"
        if hours < 0.025
        else f"{60 * hours:.0f} min"
        if hours < 2
        else f"{hours:,.1f} h"
    )


def _winner(found: Recommendation, folder: Path) -> str:
    winner = found.winner
    assert winner is not None  # asked before
    trial = winner.trial
    title = "The winner" if found.model is not None else "The leader, not sure to be the best"
    settings = {key: "none" if value is None else value for key, value in trial.params.items()}
    lines = [
        f"## {title}",
        "",
        f"{markdown.escape(winner.model)}, widths {' '.join(map(str, trial.widths))}, {trial.parameters:,} parameters. "
        f"Its weights are those of repetition {winner.repetition}, the best on validation "
        f"({number(winner.validation)}); test was not asked.",
        "",
        f"```toml\n{tomli_w.dumps(settings)}```",
        "",
        f"```sh\n{train_command(found)}\n```",
        "",
        "```python",
        "from harness import load_winner",
        "",
        f"winner = load_winner({str(folder)!r})",
        'winner.predict("new-rows.csv")  # on own data; else winner.network(tensor)',
        "```",
        "",
    ]
    return "\n".join(lines)


def _claims(found: Recommendation) -> tuple[str, ...]:
    size = f"{found.parameters:,} parameters" if found.parameters is not None else "published sizes"
    listed = " and ".join(map(str, found.test_reads))
    return (
        f"Of these configurations: the best of {found.trials} search trials of each model by validation, at {size} "
        f"and {found.updates:,} updates, on these data. Another search may find others.",
        "Repetitions differ in seeds of weights, order, dropout and, where they are drawn, training and validation "
        "data. The test data are one set: how far another would differ is not in these intervals.",
        "Validation scores decided which models train on. Claims are about test scores, which were read "
        + (f"{_times(len(found.test_reads))}, after {listed} repetitions." if found.test_reads else "once."),
        "Not claimed: anything of other sizes, longer training, other data, or architectures as such.",
    )


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"
