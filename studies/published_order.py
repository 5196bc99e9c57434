"""Whether the order of the published values of a row holds in a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from harness.analysis.comparison import Section, between
from harness.analysis.paired_tests import PairedVerdict
from harness.analysis.reproduction import worse_by
from harness.analysis.statistics import Proportion, proportion
from harness.records import MetricFacts

ROUNDING = 1e-9
"""Relative: values with two decimals that differ by the margin are not apart by rounding errors."""


@dataclass(frozen=True)
class Claim:
    """Two models, the better of the published values first, and the decision between them in the comparison."""

    better: str
    worse: str
    verdict: PairedVerdict


@dataclass(frozen=True)
class PublishedOrder:
    """The published order of the ranked models, and what became of it."""

    models: tuple[str, ...]
    """The best published value first."""
    missing: tuple[str, ...]
    """Models of the comparison that are not ranked."""
    apart: tuple[Claim, ...]
    """Pairs whose published values differ by more than the task's margin."""
    alike: tuple[Claim, ...]
    """Pairs whose published values do not."""
    whole: Proportion
    """Repetitions in which all pairs that are apart come in the published order; a tie does not."""

    @property
    def judgement(self) -> str:
        """Contradicted: a pair is decided the other way.  Holds: all are decided as published.  Else undecided."""
        verdicts = {claim.verdict for claim in self.apart}
        if "worse" in verdicts:
            return "contradicted"
        return "holds" if verdicts == {"better"} else "undecided"

    @property
    def as_published(self) -> int:
        return sum(claim.verdict == "better" for claim in self.apart)

    @property
    def unlike(self) -> list[str]:
        """How the decided pairs differ from the paper: turned, equivalent here, or apart only here."""
        turned = _worded(self.apart, {"worse": "{1} before {0}", "equivalent": "{0} and {1} equivalent"})
        return turned + _worded(self.alike, {"better": "{0} before {1}", "worse": "{1} before {0}"})


def _worded(claims: Sequence[Claim], words: Mapping[str, str]) -> list[str]:
    return [words[claim.verdict].format(claim.better, claim.worse) for claim in claims if claim.verdict in words]


def order_of(section: Section, published: Mapping[str, float]) -> PublishedOrder | None:
    """Return what became of the published order; None if no two ranked models are apart, or none learned anything."""
    ranked = {row.model for row in section.rows if row.rank is not None}
    values = {model: value for model, value in published.items() if model in ranked}
    models = sorted(values, key=lambda model: values[model], reverse=section.metric.better == "higher")
    pairs = list(combinations(models, 2))
    apart = [pair for pair in pairs if _is_apart(values[pair[0]], values[pair[1]], section.metric)]
    claims = _claims(section, apart)
    if not claims or section.nothing_learned:
        return None
    missing = {result.facts.cell.model for result in section.results} - ranked
    alike = _claims(section, [pair for pair in pairs if pair not in apart])
    return PublishedOrder(tuple(models), tuple(sorted(missing)), claims, alike, _whole(section, apart))


def _whole(section: Section, apart: Sequence[tuple[str, str]]) -> Proportion:
    """Return in how many of the shared repetitions all of these pairs come in this order."""
    scores = {result.facts.cell.model: result.repeated("test") for result in section.results}
    shared = set.intersection(*(set(scores[model]) for pair in apart for model in pair))
    sign = 1.0 if section.metric.better == "higher" else -1.0

    def score(model: str, repetition: int) -> float:
        value = scores[model][repetition]
        return sign * value if math.isfinite(value) else -math.inf

    held = sum(all(score(first, place) > score(second, place) for first, second in apart) for place in shared)
    return proportion(held, len(shared))


def _is_apart(better: float, worse: float, metric: MetricFacts) -> bool:
    return worse_by(worse, better, metric) > metric.margin * (1 + ROUNDING)


def _claims(section: Section, pairs: Sequence[tuple[str, str]]) -> tuple[Claim, ...]:
    decided = ((first, second, between(section.pairs, first, second)) for first, second in pairs)
    return tuple(Claim(first, second, decision.verdict) for first, second, decision in decided if decision is not None)
