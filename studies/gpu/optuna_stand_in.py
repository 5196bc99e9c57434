"""Importing this module makes `from optuna.distributions import ...` work where Optuna is not installed.

Models and tasks name its classes in their search spaces.  A planned trial has its values already, so training reads
no search space.
"""

from __future__ import annotations

import sys
from types import ModuleType

NAMES = ("BaseDistribution", "CategoricalDistribution", "FloatDistribution", "IntDistribution")


try:
    import optuna.distributions  # noqa: F401
except ImportError:
    package, module = ModuleType("optuna"), ModuleType("optuna.distributions")
    for name in NAMES:
        setattr(module, name, type(name, (), {"__init__": lambda self, *_, **__: None}))
    package.distributions = module  # type: ignore[attr-defined]
    sys.modules.update({"optuna": package, "optuna.distributions": module})
