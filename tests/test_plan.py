from __future__ import annotations

from harness.plan import make_plan
from harness.registry import Registry
from tests.conftest import MakeStudy


def test_probe(toy_registry: Registry, toy_study: MakeStudy) -> None:
    assert toy_registry.messages == ()
    plan = make_plan(
        toy_study(
            models=["toy-ema", "toy-stack"], tasks=[{"name": "toy-sum"}, {"name": "toy-ragged", "parameters": 200}]
        ),
        toy_registry,
    )
    for c in plan.cells:
        for l in (1, 2, 3):
            p = {"dropout": 0.0}
            p |= {"bias": True} if c.model.name == "toy-ema" else {"layers": l, "scale": 1.0}
            try:
                print(c.cell, c.size(p))
            except Exception as e:
                print(c.cell, repr(e))
    assert 0
