"""The sentence that opens a report: what one task's comparison concludes, and what would decide the rest."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.comparison import Section
from harness.analysis.comparison_row import Row
from harness.report.formatting import count, listed, number
from harness.report.sections.comparison import off_budget


def conclusion(section: Section) -> str:
    """Return one sentence: which models lead, are equivalent, are worse or are undecided, and what would decide."""
    ranked = [row for row in section.rows if row.rank is not None]
    if not ranked:
        return f"{section.task}: no model is ranked{_unranked(section)}."
    if section.nothing_learned:
        return f"{section.task}: nothing was learned; no repetition is better than the floor by more than the margin."
    parts = [_leader(section, ranked), *_rivals(ranked), *_undecided(ranked)]
    return f"{section.task}: {'; '.join(parts)}{_unranked(section)}."


def _leader(section: Section, ranked: Sequence[Row]) -> str:
    first = [row for row in ranked if row.rank == 1]
    names = listed([row.model for row in first])
    if len(ranked) == 1:
        return f"{names} is the only ranked model"
    mean = first[0].test.mean if first[0].test is not None else None
    leads = f"{names} {'leads' if len(first) == 1 else 'lead'} with mean test {section.metric.name} {number(mean)}"
    success = first[0].success
    if first[0].successes is None or success is None:
        return leads
    share = f"{success.happened} of {success.n} repetitions of {first[0].model}"
    return f"{leads}, though only {share} are better than the floor by more than the margin"


def _rivals(ranked: Sequence[Row]) -> list[str]:
    """Describe the models that are decided against the leader."""
    words = {
        "equivalent": ("is equivalent", "are equivalent"),
        "worse": ("is worse", "are worse"),
        "better": ("wins more paired seeds", "win more paired seeds"),
    }
    parts = []
    for verdict, (single, several) in words.items():
        models = [row.model for row in ranked if row.against_best is not None and row.against_best.verdict == verdict]
        if models:
            parts.append(f"{listed(models)} {single if len(models) == 1 else several}")
    return parts


def _undecided(ranked: Sequence[Row]) -> list[str]:
    """Describe the models that are not decided against the leader, with the paired seeds that would decide."""
    waiting: dict[str, list[str]] = {}
    for row in ranked:
        decision = row.against_best
        if decision is not None and decision.verdict == "undecided":
            enough = "no practical number of" if decision.needed is None else f"about {count(decision.needed)}"
            waiting.setdefault(f"{enough} paired seeds would decide; {decision.n} so far", []).append(row.model)
    groups = [f"{listed(models)} ({what})" for what, models in waiting.items()]
    return [f"inconclusive: {', '.join(groups)}"] if groups else []


def _unranked(section: Section) -> str:
    others = [_marked(row) for row in section.rows if row.rank is None and row.setting == "searched"]
    allowed = [_marked(row) for row in section.rows if row.rank is not None and row.off_budget]
    named = (("not ranked", others), ("ranked although off budget", allowed))
    return "".join(f"; {what}: {listed(models)}" for what, models in named if models)


def _marked(row: Row) -> str:
    """Return the model, and how far it is off the budget."""
    return f"{row.model} ({off_budget(row)})" if row.off_budget else row.model
