"""The budget that each cell was allocated and used, and its costs, as blocks of a document."""

from __future__ import annotations

from collections.abc import Mapping

from harness.analysis.budget_audit import Spending
from harness.analysis.comparison import Section
from harness.analysis.efficiency import TradeOffs
from harness.report.document import NOTHING, Block, Datum, Heading, Notes, Paragraph, Table, quote
from harness.report.formatting import count, number, of_count, of_number, of_size, share_interval
from harness.report.report import Report

SEEDS_SHOWN = 3
"""Repetitions whose seeds are shown; all seeds are among the params of the runs."""


def trade_offs(section: Section) -> list[Block]:
    known = [one for one in section.trade_offs if one.diverged is not None]
    if not known:
        return []
    header = (
        "model", "peak memory", "ms an update", "updates to threshold", "gradient norm", "its swing", "diverged",
        "state",
    )  # fmt: skip
    return [Heading("Trade-offs", 3), Table(header, tuple(_trade_off(one) for one in known)), Notes(_rules(section))]


def _trade_off(one: TradeOffs) -> tuple[Datum, ...]:
    reached = f" ({one.reached}/{one.curves})" if one.curves else ""
    told = number(one.updates_to_threshold) if one.updates_to_threshold is None else count(one.updates_to_threshold)
    rate = NOTHING if one.diverged is None else share_interval(one.diverged.share, one.diverged.interval)
    return (
        Datum(one.model),
        of_size(one.peak_bytes),
        of_number(None if one.update_seconds is None else 1000 * one.update_seconds),
        Datum(told + reached, one.updates_to_threshold),
        of_number(one.gradient_norm),
        of_number(one.gradient_swing),
        Datum(rate, one.diverged.share if one.diverged is not None else None),
        of_size(one.state_bytes),
    )


def _rules(section: Section) -> tuple[str, ...]:
    threshold = (
        f"threshold: {number(section.threshold)} on validation, halfway from the floor to the task's best, in brackets "
        "the repetitions that reached it."
        if section.threshold is not None
        else "threshold: none, since no cell is better than a known floor."
    )
    return (
        "Medians over repetitions. Memory is the worker's, or that allocated on a GPU; time is wall time, evaluations "
        "included, and comparable only between equal and equally busy machines.",
        threshold,
        "swing: 90th over 10th percentile of the gradient norm before clipping, over evaluations. diverged: of all "
        "trials, exact 95 % interval. state: what a recurrent pass carries for one sequence.",
    )


def audit(section: Section) -> list[Block]:
    header = (
        "model", "trials: ended of allocated", "repetitions", "updates each", "batch", "updates done", "seconds",
        "peak memory", "chosen by", "test opened", "of due",
    )  # fmt: skip
    rows = tuple(_spending(one) for one in section.spendings)
    return [Heading("Budget allocated and used", 3), Table(header, rows), Notes(tuple(_grounds(section)))]


def _spending(one: Spending) -> tuple[Datum, ...]:
    return (
        Datum(one.model),
        Datum(_ended(one.search_outcomes, one.search_granted), one.search_granted),
        Datum(_ended(one.repetition_outcomes, one.repetitions_granted), one.repetitions_granted),
        of_count(one.updates_granted),
        of_count(one.batch_size),
        of_count(one.updates),
        of_number(one.seconds),
        of_size(one.peak_bytes),
        Datum(one.selection),
        of_count(one.test_opened),
        of_count(one.test_due),
    )


def _ended(outcomes: Mapping[str, int], granted: int) -> str:
    told = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.items())
    return f"{sum(outcomes.values())}/{granted}" + (f" ({told})" if told else "")


def _grounds(section: Section) -> list[str]:
    spent = section.spendings
    seeds = {one.seeds for one in spent if one.seeds}
    notes = [
        "Failed and diverged trials count as used. A comparison needs equal allocations; seconds are the time used."
    ]
    if seeds:
        longest = max(seeds, key=len)
        same = all(longest[: len(one)] == one for one in seeds)
        shown = ", ".join(map(str, longest[:SEEDS_SHOWN])) + (", …" if len(longest) > SEEDS_SHOWN else "")
        whose = "the same for every model" if same else "those of a model"
        notes.append(f"{len(longest)} seeds of initial weights, {whose}: {shown}")
    data = {name: digest for one in spent for name, digest in one.data.items()}
    notes += [f"data {quote(name)}: sha256 {digest}." for name, digest in data.items()]
    devices = dict.fromkeys(device for one in spent for device in one.devices)
    return [*notes, *([f"devices: {quote(', '.join(devices))}."] if devices else [])]


def provenance(report: Report) -> list[Block]:
    plugins = ", ".join(f"{plugin.name} {plugin.version}" for plugin in report.plugins)
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items() if name != "host")
    facts = (("code", report.git), ("plugins", plugins), ("versions", versions), ("driver's machine", machine))
    told = [f"{name}: {quote(value)}" for name, value in facts if value]
    return [Heading("Provenance", 2), Paragraph("; ".join(told) + ".")] if told else []
