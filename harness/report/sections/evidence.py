"""Sections on evidence: paired comparisons, the effect of tuning, and published values."""

from __future__ import annotations

import math

from harness.analysis.comparison import Pair, Section
from harness.analysis.paired_tests import noether_pairs, power
from harness.analysis.reproduction import Reproduction
from harness.analysis.sign_test import MEANINGFUL, MINIMUM_PAIRS
from harness.analysis.statistics import Interval
from harness.analysis.tuning_curves import TuningCurve
from harness.halving import total_updates
from harness.records import MetricFacts
from harness.report.document import NOTHING, Block, Datum, Heading, Notes, Table, quote
from harness.report.formatting import count, mean_interval, number, of_number, share_interval


def inconclusive(n: int, needed: int | None) -> str:
    """Describe an undecided pair of models: the number of paired seeds, and how many would decide."""
    return (
        f"inconclusive ({n} of {count(needed)} paired seeds)"
        if needed is not None
        else f"inconclusive ({n} paired seeds)"
    )


def margin_of(metric: MetricFacts) -> str:
    """Describe a task's margin: a factor on a log scale, else a difference."""
    return f"a factor of {math.exp(metric.margin):.4g}" if metric.scale == "log" else f"{metric.margin:.4g}"


def pairs(section: Section) -> list[Block]:
    """Return the paired comparison of every two models; empty if there are no pairs."""
    if not section.pairs:
        return []
    log = section.metric.scale == "log"
    effect = "ratio of means" if log else "difference of means"
    header = ("models", "wins", "P(first wins) (95 % CI)", f"{effect} (95 % CI)", "decision")
    rows = tuple(_pair(pair, log=log) for pair in section.pairs)
    return [Heading("Paired comparisons", 3), Table(header, rows), Notes(_pair_notes(section.metric))]


def _pair_notes(metric: MetricFacts) -> tuple[str, ...]:
    effect = "ratio" if metric.scale == "log" else "difference"
    return (
        "A pair is one repetition of both models, on the same data, order and test set; a repetition without a score "
        "loses. P: exact interval; ties count half.",
        f"{effect}: of {'geometric ' if effect == 'ratio' else ''}means, Student's t over pairs. equivalent: the "
        f"{effect} is within {margin_of(metric)}, the task's margin.",
        f"better: P is above one half, from {MINIMUM_PAIRS} pairs on, and the interval of the {effect} is not wholly "
        "within the margin. All decisions of a task share an error of 5 % (Holm's correction), however often pairs are "
        "added. The intervals are those of single pairs, uncorrected, for a number of pairs fixed in advance.",
        f"Noether's formula needs {noether_pairs()} pairs to detect P = {MEANINGFUL} at 5 % either way. The test used "
        f"here detects it with probability {power(noether_pairs()):.2f} at that number, for two models.",
    )


def _pair(pair: Pair, *, log: bool) -> tuple[Datum, ...]:
    decision = pair.decision
    words = {
        "better": f"{pair.first} is better",
        "worse": f"{pair.second} is better",
        "equivalent": "equivalent",
        "undecided": inconclusive(decision.n, decision.needed),
    }
    return (
        Datum(f"{pair.first} / {pair.second}"),
        Datum(f"{decision.wins} of {decision.n}" + (f", {decision.ties} ties" if decision.ties else ""), decision.wins),
        Datum(share_interval(decision.probability, decision.interval), decision.probability),
        _difference(decision.difference, log=log),
        Datum(words[decision.verdict]),
    )


def _difference(interval: Interval | None, *, log: bool) -> Datum:
    if interval is None:
        return Datum(NOTHING)
    low, high = (math.exp(interval.low), math.exp(interval.high)) if log else (interval.low, interval.high)
    middle = math.exp((interval.low + interval.high) / 2) if log else (low + high) / 2
    return Datum(f"{number(middle)} [{number(low)}, {number(high)}]", middle)


def tuning(section: Section, sampler: str) -> list[Block]:
    """Return the best validation score by number of trials; empty if there are no tuning curves."""
    if not section.tuning:
        return []
    if section.rungs:
        return _pruned_tuning(section)
    most = max(len(curve.expected) for curve in section.tuning.values())
    shown = [k for k in dict.fromkeys((*(2**power for power in range(12)), most)) if k <= most]
    rows = tuple(
        (Datum(model), *(of_number(curve.expected[k - 1] if k <= len(curve.expected) else None) for k in shown))
        for model, curve in section.tuning.items()
    )
    title = "Effect of tuning" if sampler == "random" else "Tuning history"
    header = ("best validation score of k trials", *(f"k = {k}" for k in shown))
    return [Heading(title, 3), Table(header, rows), Notes(tuple(_tuning_notes(section, sampler)))]


def _pruned_tuning(section: Section) -> list[Block]:
    """Return the best validation score by updates, in eighths of the cell's total."""
    total = total_updates(section.rungs)
    shown = [total * eighths // 8 for eighths in (1, 2, 4, 6, 8)]
    rows = tuple((Datum(model), *(_best_by(curve, most) for most in shown)) for model, curve in section.tuning.items())
    header = ("best validation score by updates of the search", *(count(updates) for updates in shown))
    note = (
        "The best score so far of one search under successive halving, by the updates of the trials that have ended: "
        "those pruned at the first rung come first. A pruned trial has the score of its rung and cannot win."
    )
    return [Heading("Tuning history", 3), Table(header, rows), Notes((note,))]


def _best_by(curve: TuningCurve, updates: int) -> Datum:
    """Return the best score of the trials that fit in these updates."""
    ended = sum(used <= updates for used in curve.updates)
    return of_number(curve.expected[ended - 1] if ended else None)


def _tuning_notes(section: Section, sampler: str) -> list[str]:
    if sampler != "random":
        return [f"The best score so far of one search: trials of the sampler {quote(sampler)} depend on earlier ones."]
    geometric = " (geometric: means on a log scale)" if _on_log(section) else ""
    notes = [
        f"Expected best of k trials{geometric}, unbiased over subsets of the trials run. A failed trial counts as the "
        "floor, or as the worst score if that is worse. The band in the figure holds 80 % of searches with k trials "
        "drawn from the trials run; it is rough if they are few."
    ]
    crossed = [
        f"{crossing.before} leads up to {crossing.k} trials and {crossing.after} from {crossing.k + 1} on"
        for crossing in section.crossings
    ]
    return [*notes, f"In expectation {'; '.join(crossed)}." if crossed else "The leading model does not change with k."]


def _on_log(section: Section) -> bool:
    return any(curve.scale == "log" for curve in section.tuning.values())


def reproductions(section: Section, protocol: str) -> list[Block]:
    """Return the comparison with published values; empty if there are none."""
    if not section.reproductions:
        return []
    own = (
        " Trials and updates are the study's own, so the budget may explain a value that was not reproduced."
        if protocol == "fair"
        else ""
    )
    header = ("model", "published", "ours (mean, 95 % CI)", "weights", "n", "verdict")
    note = (
        f"Protocol {protocol}.{own} Tolerance: {margin_of(section.metric)}, the task's margin. reproduced: the whole "
        "interval is worse by at most the tolerance; better: better by more than it; not reproduced: worse by more "
        "than it; under-powered: the interval is too long for a verdict, or there is none."
    )
    rows = tuple(_reproduction(reproduction) for reproduction in section.reproductions)
    return [Heading("Comparison with published values", 3), Table(header, rows), Notes((note,))]


def _reproduction(reproduction: Reproduction) -> tuple[Datum, ...]:
    ours = reproduction.ours
    return (
        Datum(reproduction.model),
        of_number(reproduction.published),
        Datum(mean_interval(ours.mean, ours.interval), ours.mean),
        Datum("last 3 evaluations" if reproduction.weights == "test-last3" else "best validation score"),
        Datum(str(ours.n), ours.n),
        Datum(reproduction.verdict),
    )
