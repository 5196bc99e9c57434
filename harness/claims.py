"""What is claimed of a task, as blocks of a document: what is sure, what tuning buys, what was reproduced."""

from __future__ import annotations

import math

from harness.comparison import Pair, Section
from harness.decision import MEANINGFUL, noether_pairs, power
from harness.document import NOTHING, Block, Datum, Heading, Notes, Table, quote
from harness.records import MetricFacts
from harness.statistics import Interval
from harness.table import count, mean_interval, number, of_number, share_interval


def undecided(n: int, needed: int | None) -> str:
    return f"undecided, {n} of {count(needed)} pairs" if needed is not None else f"undecided, {n} pairs"


def margin_of(metric: MetricFacts) -> str:
    return f"a factor of {number(math.exp(metric.margin))}" if metric.scale == "log" else number(metric.margin)


def pairs(section: Section) -> list[Block]:
    if not section.pairs:
        return []
    log = section.metric.scale == "log"
    header = ("pair", "wins", "P(first wins) [95 %]", f"{'ratio' if log else 'difference'} [95 %]", "decision")
    notes = (
        "A pair is one repetition of both models, on the same data, order and test set; a repetition without a score "
        "loses. P: exact interval, ties half.",
        f"{'ratio: of geometric means' if log else 'difference: of means'}, Student's t over pairs; equivalent: wholly "
        f"within {margin_of(section.metric)}, the task's margin.",
        "better: P is above one half, from 10 pairs on. All decisions of a task share an error of 5 % (Holm); those of "
        "better hold however often pairs are added, those of equivalent for one reading. The intervals are of single "
        f"pairs of models. {noether_pairs()} pairs: Noether's number to find P = {MEANINGFUL} at 5 % either way, which "
        f"pairs of models share; the test that is used here finds it with probability "
        f"{power(noether_pairs()):.2f} at {noether_pairs()} pairs of two models.",
    )
    rows = tuple(_pair(pair, log=log) for pair in section.pairs)
    return [Heading("Which differences are sure", 3), Table(header, rows), Notes(notes)]


def _pair(pair: Pair, *, log: bool) -> tuple[Datum, ...]:
    found = pair.decision
    words = {
        "better": f"{pair.one} is better",
        "worse": f"{pair.other} is better",
        "equivalent": "equivalent",
        "undecided": undecided(found.n, found.needed),
    }
    return (
        Datum(f"{pair.one} / {pair.other}"),
        Datum(f"{found.wins} of {found.n}" + (f", {found.ties} ties" if found.ties else ""), found.wins),
        Datum(share_interval(found.probability, found.interval), found.probability),
        _difference(found.difference, log=log),
        Datum(words[found.verdict]),
    )


def _difference(interval: Interval | None, *, log: bool) -> Datum:
    if interval is None:
        return Datum(NOTHING)
    low, high = (math.exp(interval.low), math.exp(interval.high)) if log else (interval.low, interval.high)
    middle = math.exp((interval.low + interval.high) / 2) if log else (low + high) / 2
    return Datum(f"{number(middle)} [{number(low)}, {number(high)}]", middle)


def tuning(section: Section, sampler: str) -> list[Block]:
    if not section.tuning:
        return []
    most = max(len(curve.expected) for curve in section.tuning.values())
    shown = [k for k in dict.fromkeys((*(2**power for power in range(12)), most)) if k <= most]
    rows = tuple(
        (Datum(model), *(of_number(curve.expected[k - 1] if k <= len(curve.expected) else None) for k in shown))
        for model, curve in section.tuning.items()
    )
    title = "What tuning buys" if sampler == "random" else "The course of tuning"
    header = ("best validation of k trials", *(f"k = {k}" for k in shown))
    return [Heading(title, 3), Table(header, rows), Notes(tuple(_tuning_notes(section, sampler)))]


def _tuning_notes(section: Section, sampler: str) -> list[str]:
    if sampler != "random":
        return [f"The best score so far, one course: trials of the sampler {quote(sampler)} depend on those before."]
    geometric = " (geometric: means on a log scale)" if _on_log(section) else ""
    notes = [
        f"Expected best of k trials{geometric}, unbiased over subsets of those that ran; a failed trial counts as the "
        "floor, or as the worst score where that is worse. The band of the picture holds 80 % of searches of k trials "
        "drawn from those that ran: rough where they are few."
    ]
    crossed = [f"up to {one.k} trials {one.before} leads, beyond it {one.after}" for one in section.crossings]
    return [*notes, f"In expectation {'; '.join(crossed)}." if crossed else "The leading model does not change with k."]


def _on_log(section: Section) -> bool:
    return any(curve.scale == "log" for curve in section.tuning.values())


def reproductions(section: Section, protocol: str) -> list[Block]:
    if not section.reproductions:
        return []
    own = " Its trials and updates are the study's own, so a miss may be the budget's." if protocol == "fair" else ""
    rows = tuple(
        (
            Datum(one.model),
            of_number(one.published),
            Datum(mean_interval(one.ours.mean, one.ours.interval), one.ours.mean),
            Datum("last 3" if one.weights == "test-last3" else "best validation"),
            Datum(str(one.ours.n), one.ours.n),
            Datum(one.verdict),
        )
        for one in section.reproductions
    )
    header = ("model", "published", "ours: mean [95 %]", "weights", "n", "verdict")
    note = (
        f"Protocol {protocol}.{own} Tolerance: {margin_of(section.metric)}, the task's margin. reproduced: the whole "
        "interval is at most so much worse; better: at least so much better; not reproduced: at least so much worse; "
        "under-powered: the interval is too long to tell, or there is none."
    )
    return [Heading("Against the published values", 3), Table(header, rows), Notes((note,))]
