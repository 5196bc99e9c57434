"""Sections on costs: trade-offs, the budget audit and provenance."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from harness.analysis.budget_audit import BudgetUse
from harness.analysis.comparison import Section
from harness.analysis.efficiency import TradeOffs
from harness.halving import Rung, describe, total_updates
from harness.report.document import NOTHING, Block, Datum, Heading, Notes, Paragraph, Table, quote
from harness.report.formatting import count, number, of_count, of_number, of_size, share_interval
from harness.report.report import Report

SEEDS_SHOWN = 3
"""How many seeds of the repetitions a note shows; all are parameters of their MLflow runs."""


def trade_offs(section: Section) -> list[Block]:
    """Return the table of memory, time and stability; empty before the first trial has ended."""
    known = [costs for costs in section.trade_offs if costs.diverged is not None]
    if not known:
        return []
    header = (
        "model", "peak memory", "time per update (ms)", "updates to threshold", "gradient norm",
        "gradient norm, 90th/10th percentile", "divergence rate (95 % CI)", "state size",
    )  # fmt: skip
    rows = tuple(_trade_off(costs) for costs in known)
    return [Heading("Trade-offs", 3), Table(header, rows), Notes(_trade_off_notes(section))]


def _trade_off(costs: TradeOffs) -> tuple[Datum, ...]:
    reached = f" ({costs.reached}/{costs.curves})" if costs.curves else ""
    diverged = costs.diverged
    rate = NOTHING if diverged is None else share_interval(diverged.share, diverged.interval)
    return (
        Datum(costs.model),
        of_size(costs.peak_bytes),
        of_number(None if costs.update_seconds is None else 1000 * costs.update_seconds),
        Datum(count(costs.updates_to_threshold) + reached, costs.updates_to_threshold),
        of_number(costs.gradient_norm),
        of_number(costs.gradient_swing),
        Datum(rate, diverged.share if diverged is not None else None),
        of_size(costs.state_bytes),
    )


def _trade_off_notes(section: Section) -> tuple[str, ...]:
    threshold = (
        f"threshold: {number(section.threshold)} on validation, halfway from the floor to the task's best score. The "
        "repetitions that reached it are in brackets."
        if section.threshold is not None
        else "threshold: none, since no cell is better than a known floor."
    )
    return (
        "Medians over repetitions. Memory is the worker's, or the memory allocated on a GPU. Time is wall time with "
        "evaluations; compare it only between machines of the same kind and load.",
        threshold,
        "gradient norm: before clipping; its percentiles are over evaluations. divergence rate: share of all trials, "
        "exact 95 % interval. state size: what a recurrent pass carries for one sequence.",
    )


def audit(section: Section) -> list[Block]:
    """Return the table of the budget that each cell was allocated and used."""
    header: tuple[str, ...] = (
        "model", "search trials (ended/allocated)", "repetitions (ended/allocated)", "updates per trial", "batch size",
        "updates used", "training time (s)", "peak memory", "selected by", "test evaluations",
        "expected test evaluations",
    )  # fmt: skip
    rows = tuple(_budget_use(use) for use in section.budget_use)
    if section.rungs:
        header = (*header, "updates of the search (used/allocated)")
        rows = tuple((*row, _search_updates(use)) for row, use in zip(rows, section.budget_use, strict=True))
    return [Heading("Budget allocated and used", 3), Table(header, rows), Notes(tuple(_audit_notes(section)))]


def _budget_use(use: BudgetUse) -> tuple[Datum, ...]:
    return (
        Datum(use.model),
        Datum(_ended(use.search_outcomes, use.search_allocated), use.search_allocated),
        Datum(_ended(use.repetition_outcomes, use.repetitions_allocated), use.repetitions_allocated),
        of_count(use.updates_allocated),
        of_count(use.batch_size),
        of_count(use.updates),
        of_number(use.seconds),
        of_size(use.peak_bytes),
        Datum(use.selection),
        of_count(use.test_opened),
        of_count(use.test_due),
    )


def _search_updates(use: BudgetUse) -> Datum:
    return Datum(f"{count(use.search_updates)}/{count(use.search_updates_allocated)}", use.search_updates)


def _ended(outcomes: Mapping[str, int], allocated: int) -> str:
    counts = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.items())
    return f"{sum(outcomes.values())}/{allocated}" + (f" ({counts})" if counts else "")


def _audit_notes(section: Section) -> list[str]:
    data = {name: digest for use in section.budget_use for name, digest in use.data.items()}
    devices = dict.fromkeys(device for use in section.budget_use for device in use.devices)
    return [
        "Failed and diverged trials use budget. A fair comparison needs equal allocations; the training time is what "
        "they took.",
        *([halving_note(section.rungs)] if section.rungs else []),
        *_seeds_note({use.seeds for use in section.budget_use if use.seeds}),
        *(f"data {quote(name)}: sha256 {digest}." for name, digest in data.items()),
        *([f"devices: {quote(', '.join(devices))}."] if devices else []),
    ]


def halving_note(rungs: Sequence[Rung]) -> str:
    """Describe the rungs of successive halving, in updates."""
    full = f"{total_updates(rungs) / rungs[-1].updates:.3g}"
    return (
        f"Successive halving: {describe(rungs)}, as many as {full} full trials, for every model. Budgets count in "
        "updates. Only trials of the last rung can win."
    )


def _seeds_note(seeds: Collection[tuple[int, ...]]) -> list[str]:
    if not seeds:
        return []
    longest = max(seeds, key=len)
    same = all(longest[: len(own)] == own for own in seeds)
    shown = ", ".join(map(str, longest[:SEEDS_SHOWN])) + (", …" if len(longest) > SEEDS_SHOWN else "")
    whose = "the same for every model" if same else "those of one model"
    return [f"{len(longest)} seeds of initial weights, {whose}: {shown}"]


def provenance(report: Report) -> list[Block]:
    """Return code version, plugins, package versions and machine of the study."""
    plugins = ", ".join(f"{plugin.name} {plugin.version}" for plugin in report.plugins)
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items() if name != "host")
    facts = (("code", report.git), ("plugins", plugins), ("versions", versions), ("driver's machine", machine))
    known = [f"{name}: {quote(value)}" for name, value in facts if value]
    return [Heading("Provenance", 2), Paragraph("; ".join(known) + ".")] if known else []
