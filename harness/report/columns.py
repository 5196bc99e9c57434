"""The columns of the data frames: name, dtype and meaning.  The names are stable: users read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import pandas as pd

from harness.records import Outcome

Dtype = Literal["string", "Int64", "Float64", "boolean", "datetime64[ns, UTC]"]
TIMES = ("started", "ended")

Values = dict[str, object]
"""Column → value of one line."""


@dataclass(frozen=True)
class Column:
    """One column of a frame.  Missing values are `pd.NA`, or `pd.NaT` for times."""

    dtype: Dtype
    meaning: str
    """With the unit and the range, if it has them."""


def _text(meaning: str) -> Column:
    return Column("string", meaning)


def _whole(meaning: str) -> Column:
    return Column("Int64", meaning)


def _number(meaning: str) -> Column:
    return Column("Float64", meaning)


def _flag(meaning: str) -> Column:
    return Column("boolean", meaning)


CELL = {"task": _text("label of the task"), "model": _text("label of the model")}

TRIALS = {
    "key": _text("study id, cell, phase and number: names the trial in the ledger and in MLflow"),
    **CELL,
    "phase": _text("search or final"),
    "number": _whole("from 0, within cell and phase"),
    "repetition": _whole("final trials: from 0; equal in all models of a task, which then share data and order"),
    "winner": _text("final trials: key of the search trial whose configuration was trained again"),
    "superseded": _flag("final trial of an earlier winner, which no average counts"),
    "attempt": _whole("attempts so far, from 1"),
    "parameters": _whole("trainable parameters of the whole network"),
    "widths": _text("width of each level, separated by spaces"),
    "seed_fixed": _whole("seed of permutations and synthetic test sets, one per study"),
    "seed_data": _whole("seed of synthetic data and of validation splits"),
    "seed_order": _whole("seed of the order of batches"),
    "seed_init": _whole("seed of the initial weights"),
    "seed_noise": _whole("seed of dropout and other noise in training"),
    "outcome": _text("complete, diverged, out-of-memory, failed or pruned; missing until the trial has ended"),
    "reason": _text("why it did not complete"),
    "score": _number("validation score of the best evaluation, in the metric's unit"),
    "updates": _whole("updates done"),
    "rung": _whole("search trials under pruning: rung, from 0, to which or towards which it trained"),
    "epochs": _number("passes over the training split"),
    "best_update": _whole("update of the best evaluation"),
    "train_seconds": _number("training and evaluation over all attempts, in seconds"),
    "started": Column("datetime64[ns, UTC]", "start of the last attempt"),
    "ended": Column("datetime64[ns, UTC]", "end of the trial"),
    "peak_bytes": _whole("peak memory in bytes: of the worker on CPU, allocated on the device on a GPU"),
    "padding": _number("ragged sequences: padding frames per real frame"),
    "state_bytes": _whole("state that a recurrent pass carries for one sequence, in bytes"),
    "receptive_field": _whole("in steps; missing if unlimited or not stated"),
    "node": _text("node that trained it"),
    "worker": _text("process that trained it"),
    "device": _text("device that trained it"),
    "weights": _text("final trials: file of the weights, below the study's folder"),
    "weights_sha256": _text("digest of that file"),
    "test_opened": _whole("how often the test split was scored"),
}
"""Further columns: `params.<dimension>`, with the dtype of its values, and `<split>/<metric>` (Float64) for the splits
`validation`, `test` (weights of the best evaluation) and `test-last3` (mean over the last three evaluations)."""

SCORES = {
    **CELL,
    "repetition": TRIALS["repetition"],
    "metric": _text("name of the metric"),
    "unit": _text("its unit; '' if it has none"),
    "better": _text("lower or higher"),
    "split": _text("validation, test (weights of the best evaluation) or test-last3 (the last three evaluations)"),
    "score": _number("in the metric's unit"),
    "published": _number("published test score of this model, for the cell's metric"),
    "baseline": _number("score of the memoryless baseline on the split, for the cell's metric; missing if unknown"),
    "key": TRIALS["key"],
}

CURVES = {
    **CELL,
    "phase": TRIALS["phase"],
    "number": TRIALS["number"],
    "repetition": TRIALS["repetition"],
    "update": _whole("updates so far"),
    "epoch": _number("passes over the training split"),
    "seconds": _number("training time so far, in seconds, over all attempts"),
    "quantity": _text("train_loss, learning_rate, gradient_norm, or validation/<metric>"),
    "value": _number("in the quantity's unit"),
    "key": TRIALS["key"],
}

DECISIONS = {
    "task": CELL["task"],
    "model": _text("first model of the pair"),
    "other": _text("second model of the pair"),
    "verdict": _text("of the first against the second: better, worse, equivalent or undecided"),
    "wins": _whole("pairs that the first model wins"),
    "ties": _whole("pairs without a winner"),
    "pairs": _whole("number of pairs"),
    "probability": _number("estimated probability of winning a pair, 0 to 1; ties count half"),
    "low": _number("lower end of its exact 95 % interval"),
    "high": _number("upper end of its exact 95 % interval"),
    "difference_low": _number("lower end of the 95 % interval of the mean difference, on the metric's scale"),
    "difference_high": _number("upper end of that interval"),
    "needed": _whole("pairs that would decide, if undecided"),
}

BEST_OF_K = {
    **CELL,
    "k": _whole("number of search trials; under pruning in the order in which they ended"),
    "updates": _whole("under pruning: updates of these trials together"),
    "expected": _number("expected validation score of the best of k trials"),
    "low": _number("lower end of the band that holds 80 % of searches"),
    "high": _number("upper end of that band"),
}

LEADER_CHANGES = {
    "task": _text("label of the task without the size"),
    "verdict": _text("same, changes or undetermined"),
    "before": _text("model with the best mean below the change; of all sizes, if there is no change"),
    "after": _text("model with the best mean above it; missing if there is no change"),
    "parameters": _number("size at which the two models are estimated to be equal"),
    "low": _number("lower end of its 95 % interval; missing if it lies below the smallest size"),
    "high": _number("upper end of that interval; missing if it lies above the largest size"),
}


def _summary(part: str, of: str) -> dict[str, Column]:
    return {
        f"{part}_n": _whole(f"number of {of}"),
        f"{part}_mean": _number(f"mean of {of}, on the scale in {part}_scale"),
        f"{part}_median": _number(f"median of {of}"),
        f"{part}_std": _number(f"standard deviation of {of}; of their logarithms on a log scale"),
        f"{part}_low": _number("lower end of the 95 % interval of the mean"),
        f"{part}_high": _number("upper end of the 95 % interval of the mean"),
        f"{part}_scale": _text("linear or log"),
        f"{part}_median_low": _number("lower end of the interval of the median"),
        f"{part}_median_high": _number("upper end of the interval of the median"),
    }


COMPARISON = {
    "study": _text("name of the study"),
    "study_id": _text("its id"),
    "protocol": _text("fair or paper"),
    "task": CELL["task"],
    "metric": _text("metric by which models are compared"),
    "unit": _text("its unit"),
    "better": _text("lower or higher"),
    "floor": _number("score of the memoryless baseline on test"),
    "budget": _whole("parameter budget; missing under protocol paper"),
    "task_parameters": _whole("published number of parameters for the task"),
    "model": CELL["model"],
    "setting": _text("searched or published"),
    "state": _text("complete, partial, failed, incomplete or left-out"),
    "rank": _whole("by mean test score, from 1"),
    "reason": _text("why trials did not complete, or why the cell was left out"),
    "refused": _text("why the cell cannot be compared"),
    "capped": _text("what was dropped so that all cells have the same budget"),
    "race": _flag("whether the study is a race, which has no ranks"),
    "parameters": _whole("parameters of the measured setting"),
    "deviation_percent": _number("deviation from the budget, in percent"),
    "off_budget": _flag("whether it deviates by more than the study's tolerance"),
    "allow_deviation": _flag("whether the study ranks a model that is off the budget"),
    "search_ended": _whole("search trials that have ended"),
    "search_granted": _whole("search trials of the budget"),
    "repetitions_ended": _whole("final trials that have ended"),
    "repetitions_granted": _whole("final trials of the budget"),
    "lacking": _whole("ended trials that the store lacks"),
    "best_validation": _number("validation score of the winner"),
    "published": _number("published test score"),
    "published_source": _text("its source"),
    "superseded": _whole("final trials of an earlier winner"),
    "test_opened": _whole("how often the test split was scored"),
    "seconds": _number("training and evaluation of all trials, in seconds"),
    "peak_bytes": _whole("largest peak memory of any trial, in bytes"),
    "rejections": _whole("configurations that the budget did not admit"),
    "evaluation_limit": _whole("held-out sequences or windows that were scored; missing if all were"),
    "assumed": _text("values of a published setting that its source does not state"),
    **{
        f"{phase}_{outcome}": _whole(f"{of} with outcome {outcome}")
        for phase, of in (("search", "search trials"), ("repetitions", "final trials"))
        for outcome in get_args(Outcome)
        if (phase, outcome) != ("repetitions", "pruned")
    },
    **_summary("test", "test scores"),
    **_summary("last3", "test scores over the last three evaluations"),
    **_summary("successes", "test scores of successful repetitions"),
    "success_happened": _whole("repetitions better than the floor by more than the margin"),
    "success_n": _whole("repetitions that have ended"),
    "success_share": _number("their ratio, 0 to 1"),
    "success_low": _number("lower end of its exact 95 % interval"),
    "success_high": _number("upper end of its exact 95 % interval"),
    "against_best_verdict": _text("against the model of rank 1: better, worse, equivalent or undecided"),
    "against_best_wins": _whole("pairs won against it"),
    "against_best_ties": _whole("pairs without a winner"),
    "against_best_n": _whole("number of pairs"),
    "against_best_probability": _number("estimated probability of winning a pair, 0 to 1"),
    "against_best_needed": _whole("pairs that would decide, if undecided"),
    "against_best_low": _number("lower end of the exact 95 % interval of that probability"),
    "against_best_high": _number("upper end of that interval"),
    "reproduction": _text("whether the published score was reached"),
    "updates_granted": _whole("updates that one trial of the cell may do"),
    "updates_done": _whole("updates that all its trials did"),
    "search_updates_granted": _whole("updates that its search trials may do together"),
    "search_updates_done": _whole("updates that they did"),
    "fewest_updates": _whole("fewest updates of a repetition"),
    "most_updates": _whole("most updates of a repetition"),
    "update_seconds": _number("median time per update in seconds, evaluations included"),
    "updates_to_threshold": _number("median updates until halfway from the floor to the best"),
    "reached": _whole("repetitions that reached that threshold"),
    "gradient_norm": _number("median gradient norm before clipping"),
    "gradient_swing": _number("ratio of the 90th to the 10th percentile of the gradient norm"),
    "state_bytes": _number("median state of a recurrent pass for one sequence, in bytes"),
}
"""The columns of CSV and Parquet files of `harness report`."""


def to_frame(lines: Iterable[Values], columns: Mapping[str, Column]) -> pd.DataFrame:
    """Return a frame with the declared columns and dtypes, and after them the other columns of the lines."""
    rows = list(lines)
    others = list(dict.fromkeys(name for row in rows for name in row if name not in columns))
    frame = pd.DataFrame(rows, columns=list(columns))
    for name in TIMES:
        if name in columns:
            frame[name] = pd.to_datetime(frame[name], unit="s", utc=True)
    typed = {name: frame[name].astype(column.dtype) for name, column in columns.items()}
    return frame.assign(**typed, **{name: _inferred([row.get(name) for row in rows]) for name in others})


def _inferred(values: Sequence[object]) -> pd.Series:
    """Return the values in a dtype that says what they are: numbers, truth values, otherwise text."""
    kinds = {type(value) for value in values if value is not None}
    dtypes: list[tuple[set[type], Dtype]] = [({bool}, "boolean"), ({int}, "Int64"), ({int, float}, "Float64")]
    dtype = next((dtype for allowed, dtype in dtypes if kinds <= allowed), None)
    if dtype is not None:
        return pd.Series(values, dtype=dtype)
    return pd.Series([None if value is None else str(value) for value in values], dtype="string")
