"""Whether the order of the published values of a row holds in a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from harness.analysis.comparison import Section, between
from harness.analysis.paired_tests import PairedVerdict
from harness.analysis.reproduction import worse_by
from harness.analysis.sign_test import fewest_pairs
from harness.analysis.statistics import Proportion, proportion
from harness.records import MetricFacts

ROUNDING = 1e-9
"""Relative tolerance: published values that differ by exactly the margin are not apart."""


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
    """Repetitions in which all pairs that are apart come in the published order.

    A tie does not, nor a pair whose better model is no better than the floor by more than the margin.
    """
    enough: int
    """Repetitions after which a model is decided that wins every pair against another."""

    @property
    def verdict(self) -> str:
        """Return `contradicted`, `holds` or `inconclusive`.

        Contradicted: a pair is decided the other way, or as equivalent.  Holds: all pairs are decided as published.
        """
        verdicts = {claim.verdict for claim in self.apart}
        if verdicts & {"worse", "equivalent"}:
            return "contradicted"
        return "holds" if verdicts == {"better"} else "inconclusive"

    @property
    def reasons(self) -> list[str]:
        """Which pairs are decided otherwise than in the paper, how many as there, and whether any could be."""
        otherwise = _worded(self.apart, {"worse": "{1} before {0}", "equivalent": "{0} and {1} equivalent"})
        as_published = sum(claim.verdict == "better" for claim in self.apart)
        few = [f"{self.whole.n} repetitions, {self.enough} can decide"] if self.whole.n < self.enough else []
        return [*otherwise, f"{as_published} of {len(self.apart)} pairs decided as published", *few]

    @property
    def also_decided(self) -> list[str]:
        """Which pairs are decided that the paper does not order."""
        return _worded(self.alike, {"better": "{0} before {1}", "worse": "{1} before {0}"})


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
    enough = fewest_pairs(len(ranked), equivalence=section.metric.margin > 0)
    return PublishedOrder(tuple(models), tuple(sorted(missing)), claims, alike, _whole(section, apart), enough)


def _whole(section: Section, apart: Sequence[tuple[str, str]]) -> Proportion:
    """Return in how many of the shared repetitions all of these pairs come in this order."""
    cells = {result.facts.cell.model: result for result in section.results}
    scores = {model: cells[model].repeated("test") for pair in apart for model in pair}
    shared = set.intersection(*map(set, scores.values()))

    def holds(better: str, worse: str, repetition: int) -> bool:
        first, second = scores[better][repetition], scores[worse][repetition]
        if not cells[better].succeeds(first):  # two models at the floor have no order
            return False
        return not math.isfinite(second) or worse_by(second, first, section.metric) > 0

    held = sum(all(holds(*pair, repetition) for pair in apart) for repetition in shared)
    return proportion(held, len(shared))


def _is_apart(better: float, worse: float, metric: MetricFacts) -> bool:
    return worse_by(worse, better, metric) > metric.margin * (1 + ROUNDING)


def _claims(section: Section, pairs: Sequence[tuple[str, str]]) -> tuple[Claim, ...]:
    decided = {pair: between(section.pairs, *pair) for pair in pairs}
    return tuple(Claim(*pair, decision.verdict) for pair, decision in decided.items() if decision is not None)
