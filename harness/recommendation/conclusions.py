"""From a stored race to a recommendation."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.analysis.cell_result import CellResult
from harness.analysis.statistics import Interval, SamplingError
from harness.ledger.journal import TrialEntry
from harness.recommendation.gains import Gains, Scoring, gains
from harness.recommendation.pairwise import ErrorBudget, needed
from harness.recommendation.race import InterimLook, Step, interim_look, probabilities
from harness.recommendation.result import Candidate, Conclusion, Place, Recommendation, SelectedTrial, Setup, Span
from harness.records import CellFacts


def scoring_of_validation(facts: CellFacts) -> Scoring:
    """Return how validation scores are read: against the floor of the validation split."""
    metric = facts.metric
    return Scoring(metric.better, metric.margin, metric.scale, facts.validation_floor)


def scoring_of_test(results: Sequence[CellResult]) -> Scoring:
    """Return how test scores of the cells of one task are read: against the floor of the test split."""
    facts = results[0].facts
    known = {result.facts.cell.model: sampling_error(result) for result in results}
    sampling = {model: error for model, error in known.items() if error is not None}
    metric = facts.metric
    return Scoring(metric.better, metric.margin, metric.scale, facts.floor, sampling)


def sampling_error(result: CellResult) -> SamplingError | None:
    """Return how much a cell's mean test score would vary between test sets; None if this was not recorded.

    The repetitions share one test set.  The standard error of their mean is at most the mean of their standard errors.
    It is infinite if the test data are too few for a standard error.
    """
    name = result.facts.metric.name
    known = [
        (entry.result.test_groups, entry.result.test_errors.get(name, math.inf))
        for entry in result.finals
        if entry.result is not None and entry.result.test_groups is not None
    ]
    if not known:
        return None
    return SamplingError(min(groups for groups, _ in known), sum(error for _, error in known) / len(known))


def answer(standings: Sequence[CellResult], step: Step, setup: Setup) -> Recommendation:
    """Return the recommendation from the cells of one task at the end of a race.  It reads test scores."""
    setup = setup.model_copy(update={"test_reads": tuple(sorted({*setup.test_reads, *step.reads}))})
    scores = {result.facts.cell.model: _tests(result, step.repetitions) for result in standings}
    racing = {model: values for model, values in scores.items() if values}
    field = gains(racing, scoring_of_test(standings)) if racing else None
    if field is None:
        return _whole(standings, setup, "failed", [_failed(result) for result in standings], None, None)
    budget = ErrorBudget.of(setup.confidence, looks=setup.looks, models=len(standings) + len(setup.postponed))
    now = interim_look(field, budget)
    chances = _probabilities(field, now, step)
    of_model = {result.facts.cell.model: result for result in standings}
    candidates = [
        _candidate(of_model[model], now, chances[model], step, field, budget) if model in racing else _failed(result)
        for model, result in of_model.items()
    ]
    ordered = sorted(
        candidates, key=lambda candidate: (candidate.place != "leader", -(candidate.probability or -1), candidate.model)
    )
    return _whole(standings, setup, _verdict(now, ordered), ordered, field, of_model[now.leader])


def _tests(result: CellResult, repetitions: int) -> list[float]:
    scores = result.repeated("test")
    return [scores[repetition] for repetition in range(repetitions) if repetition in scores]


def _probabilities(field: Gains, now: InterimLook, step: Step) -> dict[str, float]:
    """Return model → the probability that its mean is the best; they add up to 1.

    A model that left the race keeps the probability that it is better than the leader; the others share the rest.
    """
    racing = [model for model in field.values if model in step.alive or model == now.leader]
    left = {pair.rival: pair.probability for pair in now.comparisons if pair.rival not in racing}
    scale = 1 / max(1.0, sum(left.values()))
    left = {model: scale * probability for model, probability in left.items()}
    rest = 1 - sum(left.values())
    return left | {model: rest * share for model, share in probabilities(field, racing).items()}


def _candidate(
    result: CellResult, now: InterimLook, probability: float, step: Step, field: Gains, budget: ErrorBudget
) -> Candidate:
    model = result.facts.cell.model
    pair = next((each for each in now.comparisons if each.rival == model), None)
    place: Place = "leader" if pair is None else pair.verdict
    summary = result.summary("test")
    interval = summary.interval if summary is not None else None
    return Candidate(
        model=model,
        place=place,
        probability=probability,
        repetitions=len(field.values[model]),
        scored=int((~field.lost[model]).sum()),
        mean=summary.mean if summary is not None else None,
        interval=_span(interval),
        learned=now.learned[model],
        wins=pair.wins if pair is not None else None,
        shared=pair.n if pair is not None else None,
        dropped=step.lost.get(model),
        needed=needed(pair, margin=field.margin, budget=budget) if pair is not None and place == "open" else None,
        seconds=_seconds(result),
        parameters=result.setting.parameters if result.setting is not None else None,
        deviation_percent=result.deviation_percent if result.off_budget else None,
        reason=result.reason,
    )


def _span(interval: Interval | None) -> Span | None:
    return Span(low=interval.low, high=interval.high) if interval is not None else None


def _seconds(result: CellResult) -> float | None:
    times = [entry.result.train_seconds for entry in result.finals if entry.result is not None]
    return sum(times) / len(times) if times else None


def _failed(result: CellResult) -> Candidate:
    return Candidate(
        model=result.facts.cell.model,
        place="failed",
        probability=None,
        repetitions=result.finals_ended,
        scored=0,
        mean=None,
        interval=None,
        learned="no",
        reason=result.reason,
    )


def _verdict(now: InterimLook, candidates: Sequence[Candidate]) -> Conclusion:
    if now.nothing_learned:
        return "nothing-learned"
    places = [candidate.place for candidate in candidates]
    if "open" in places or now.learned[now.leader] != "yes":
        return "undecided"
    if "equivalent" in places:
        return "equivalent"
    return "best" if len(places) > 1 else "alone"


def _whole(
    standings: Sequence[CellResult],
    setup: Setup,
    verdict: Conclusion,
    candidates: Sequence[Candidate],
    field: Gains | None,
    leader: CellResult | None,
) -> Recommendation:
    facts = standings[0].facts
    decided = verdict in ("best", "equivalent", "alone")
    first = candidates[0]
    winner = _winner(leader) if leader is not None and verdict != "nothing-learned" else None
    trained = next((result.setting for result in standings if result.setting is not None), None)
    return Recommendation(
        study=setup.study,
        study_id=setup.study_id,
        task=facts.task,
        cell=facts.cell.task,
        metric=facts.metric,
        floor=facts.floor,
        parameters=facts.parameters,
        trials=facts.trials,
        updates=trained.training.updates if trained is not None else 0,
        confidence=setup.confidence,
        looks=len(setup.looks),
        test_reads=setup.test_reads,
        verdict=verdict,
        model=first.model if decided else None,
        probability=first.probability,
        equivalent=tuple(candidate.model for candidate in candidates if candidate.place == "equivalent"),
        candidates=tuple(candidates),
        hours=_hours(candidates, setup.slots),
        slots=setup.slots,
        out_of_time=setup.out_of_time,
        asked_repetitions=setup.asked_repetitions,
        postponed=setup.postponed,
        winner=winner,
        notes=_notes(field, candidates),
    )


def _hours(candidates: Sequence[Candidate], slots: int) -> float | None:
    """The leader and every open rival trained until what is said to be needed is there."""
    opened = [candidate for candidate in candidates if candidate.place == "open"]
    if not opened or any(candidate.needed is None for candidate in opened):
        return None
    leader = candidates[0]
    most = max(candidate.needed or 0 for candidate in opened)
    seconds = (most - leader.repetitions) * (leader.seconds or 0)
    seconds += sum(((candidate.needed or 0) - candidate.repetitions) * (candidate.seconds or 0) for candidate in opened)
    return max(seconds, 0.0) / slots / 3600


def _notes(field: Gains | None, candidates: Sequence[Candidate]) -> tuple[str, ...]:
    notes: list[str] = []
    if field is not None and field.linear:
        notes.append("a score, or the floor, is not positive: means are arithmetic, and nothing is called equivalent")
    if field is not None and field.floor is not None and not field.sampling:
        notes.append("no standard errors over the test data are recorded: better than floor accounts for seeds alone")
    lost = [candidate for candidate in candidates if candidate.scored < candidate.repetitions]
    if lost:
        listed = ", ".join(
            f"{candidate.model} {candidate.repetitions - candidate.scored} of {candidate.repetitions}"
            for candidate in lost
        )
        notes.append(
            f"repetitions without a score count as the floor, or as the worst score if no floor is known: {listed}"
        )
    return tuple(notes)


def best_final(result: CellResult) -> TrialEntry | None:
    """The complete repetition of the best validation score, of which weights are kept; ties go to the earlier."""
    sign = 1 if result.facts.metric.better == "lower" else -1
    kept = [
        (sign * entry.result.score, entry.trial.repetition or 0, entry)
        for entry in result.finals
        if entry.result is not None and entry.result.score is not None and math.isfinite(entry.result.score)
        and entry.result.weights is not None
    ]  # fmt: skip
    return min(kept, key=lambda each: each[:2])[2] if kept else None


def _winner(result: CellResult) -> SelectedTrial | None:
    entry = best_final(result)
    if entry is None or entry.result is None or entry.result.score is None or entry.result.weights is None:
        return None
    return SelectedTrial(
        model=result.facts.cell.model,
        key=entry.trial.key,
        repetition=entry.trial.repetition or 0,
        validation=entry.result.score,
        weights=entry.result.weights,
        trial=entry.trial,
    )
