"""Recommendations made by hand."""

from __future__ import annotations

import math
from typing import Any

from harness.recommendation.result import Candidate, Recommendation
from harness.records import MetricFacts, TaskRef

PLAIN: dict[str, Any] = {  # fields of a record, hence Any
    "probability": 0.8,
    "repetitions": 10,
    "scored": 10,
    "mean": 0.25,
    "interval": {"low": 0.2, "high": 0.3},
    "learned": "yes",
    "seconds": 2.0,
    "parameters": 161,
}


def candidate(model: str, place: str, **changes: object) -> Candidate:
    return Candidate.model_validate({"model": model, "place": place, **PLAIN, **changes})


def answer(verdict: str, *candidates: Candidate, **changes: object) -> Recommendation:
    """A recommendation of the first candidate, without a winner to load."""
    return Recommendation.model_validate(
        {
            "study": "toys",
            "study_id": "0123456789ab",
            "task": TaskRef(name="toy-sum"),
            "cell": "toy-sum",
            "metric": MetricFacts(name="mse", unit="", better="lower", margin=math.log(1.05), scale="log"),
            "floor": 0.5,
            "parameters": 161,
            "trials": 8,
            "updates": 1000,
            "confidence": 0.95,
            "looks": 5,
            "verdict": verdict,
            "model": candidates[0].model,
            "probability": 0.8,
            "equivalent": (),
            "candidates": candidates,
            "hours": None,
            "slots": 2,
            "out_of_time": False,
            "winner": None,
            "notes": (),
            **changes,
        }
    )
