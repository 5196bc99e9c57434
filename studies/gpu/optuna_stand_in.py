"""Importing this module makes `from optuna.distributions import ...` work where Optuna is not installed.

Models and tasks name its classes in their search spaces, and the registry has samplers.  A planned trial has its values
already, so training reads no search space and asks no sampler.
"""

from __future__ import annotations

import sys
from types import ModuleType

NAMES = {
    "distributions": ("BaseDistribution", "CategoricalDistribution", "FloatDistribution", "IntDistribution"),
    "samplers": ("BaseSampler", "GPSampler", "RandomSampler", "TPESampler"),
    "study": ("Study",),
    "trial": ("FrozenTrial", "TrialState"),
}


try:
    import optuna.distributions  # noqa: F401
except ImportError:
    sys.modules["optuna"] = ModuleType("optuna")
    for part, names in NAMES.items():
        module = ModuleType(f"optuna.{part}")
        for name in names:
            setattr(module, name, type(name, (), {"__init__": lambda self, *_, **__: None}))
        setattr(sys.modules["optuna"], part, module)
        sys.modules[f"optuna.{part}"] = module
