"""A benchmark harness that compares sequence architectures at equal parameter and tuning budgets.

The names in `__all__` are the public API: `Study`, `run`, `recommend` and what they return for users, the other names
for authors of plugins.  Each is imported at its first use, so
`import harness` and `harness --help` do not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.api.dataset import SPLITS, Arrays, Batch, Dataset, Ragged, Split, Stream
    from harness.api.model import Model, Published, Scan, Stack, Suffix
    from harness.api.params import check_widths, read_params, require_param
    from harness.api.sampler import Draw, SamplerFactory
    from harness.api.signature import Bits, Classes, Real, Signature, Tokens
    from harness.api.task import (
        DataFile,
        Metric,
        Plateau,
        PublishedRow,
        Sums,
        Task,
        Total,
        bits_of,
        mean_of,
        percent_of,
        perplexity_of,
    )
    from harness.data.cache import Array, parsed_arrays
    from harness.data.files import cache_folder, file_status, own_file
    from harness.errors import DataError, HarnessError, SpaceError, did_you_mean
    from harness.plugin.hookspecs import hookimpl
    from harness.recommendation.predictor import Winner, load_winner
    from harness.records import Optimisation, Record, Schedule
    from harness.seeds import Seeds, derive
    from harness.workflow.optuna_study import optuna_study
    from harness.workflow.recommend import recommend
    from harness.workflow.recommendation import Recommendation, RecommendationBySize
    from harness.workflow.results import Results, load_results
    from harness.workflow.run import IncompleteWarning, run
    from harness.workflow.study import Study

_NAMES_OF = {
    "api.dataset": ("Arrays", "Batch", "Dataset", "Ragged", "SPLITS", "Split", "Stream"),
    "api.model": ("Model", "Published", "Scan", "Stack", "Suffix"),
    "api.params": ("check_widths", "read_params", "require_param"),
    "api.signature": ("Bits", "Classes", "Real", "Signature", "Tokens"),
    "api.sampler": ("Draw", "SamplerFactory"),
    "api.task": (
        "DataFile",
        "Metric",
        "Plateau",
        "PublishedRow",
        "Sums",
        "Task",
        "Total",
        "bits_of",
        "mean_of",
        "percent_of",
        "perplexity_of",
    ),
    "data.cache": ("Array", "parsed_arrays"),
    "data.files": ("cache_folder", "file_status", "own_file"),
    "errors": ("DataError", "HarnessError", "SpaceError", "did_you_mean"),
    "plugin.hookspecs": ("hookimpl",),
    "recommendation.predictor": ("Winner", "load_winner"),
    "records": ("Optimisation", "Record", "Schedule"),
    "seeds": ("Seeds", "derive"),
    "workflow.optuna_study": ("optuna_study",),
    "workflow.recommend": ("recommend",),
    "workflow.recommendation": ("Recommendation", "RecommendationBySize"),
    "workflow.results": ("Results", "load_results"),
    "workflow.run": ("IncompleteWarning", "run"),
    "workflow.study": ("Study",),
}
_MODULE_OF = {name: f"harness.{module}" for module, names in _NAMES_OF.items() for name in names}

__all__ = [
    "SPLITS",
    "Array",
    "Arrays",
    "Batch",
    "Bits",
    "Classes",
    "DataError",
    "DataFile",
    "Dataset",
    "Draw",
    "HarnessError",
    "IncompleteWarning",
    "Metric",
    "Model",
    "Optimisation",
    "Plateau",
    "Published",
    "PublishedRow",
    "Ragged",
    "Real",
    "Recommendation",
    "RecommendationBySize",
    "Record",
    "Results",
    "SamplerFactory",
    "Scan",
    "Schedule",
    "Seeds",
    "Signature",
    "SpaceError",
    "Split",
    "Stack",
    "Stream",
    "Study",
    "Suffix",
    "Sums",
    "Task",
    "Tokens",
    "Total",
    "Winner",
    "bits_of",
    "cache_folder",
    "check_widths",
    "derive",
    "did_you_mean",
    "file_status",
    "hookimpl",
    "load_results",
    "load_winner",
    "mean_of",
    "optuna_study",
    "own_file",
    "parsed_arrays",
    "percent_of",
    "perplexity_of",
    "read_params",
    "recommend",
    "require_param",
    "run",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
