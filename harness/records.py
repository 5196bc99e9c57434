"""Records that the layers, the ledger and the workers exchange: frozen names and numbers, stored as JSON."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.seeds import Seeds

ParamValue = bool | int | float | str | None
Phase = Literal["search", "final"]
Precision = Literal["float32", "bfloat16"]
Outcome = Literal["complete", "diverged", "out-of-memory", "failed"]
Death = Literal["memory", "crash", "silent", "early", "node"]
"""How a worker failed.

memory: Ray killed it because its node ran out of memory.  crash: it left a trace of a fatal signal, an error or a hang.
silent: it left no trace, as after kill -9.  early: it failed before its trial started.  node: its machine failed.
"""

LABEL = r"^[a-z0-9][a-z0-9.-]*$"
LONGEST_LABEL = 100
LONGEST_WAIT_SECONDS = 1e8
"""Three years; timers of C overflow after 292 years."""
Label = Annotated[str, Field(pattern=LABEL, max_length=LONGEST_LABEL)]


class Record(BaseModel):
    """A pydantic model that is immutable, equal by value, and rejects unknown keys."""

    # As null, which JSON uses for infinities and NaN by default, they would not be read back as numbers.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


def digest_of(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of `value`, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Cell(Record):
    """One (task label, model label) pair of a study."""

    task: Label
    model: Label

    def __str__(self) -> str:
        return f"{self.task}/{self.model}"


class Resources(Record):
    """The resources of one trial, and the limits on its worker.  Trials with equal resources form one class."""

    cpu: float = Field(default=1, gt=0, allow_inf_nan=False)
    gpu: float = Field(default=0, ge=0, allow_inf_nan=False)
    """GPUs; with a fraction, several trials share one GPU."""
    memory_gib: float = Field(default=0, ge=0, allow_inf_nan=False)
    """Memory reserved, in GiB; 0: none is reserved."""
    stack: int = Field(default=1, ge=1)
    """Number of final trials of a cell that are trained together with the resources of one, if the model offers
    `stack`.  It fills a GPU that one small network leaves idle; on CPU no gain was measured."""
    graphs: bool = False
    """Whether the updates of a stack are recorded as CUDA graphs, one per batch shape; not with carried states."""
    hang_seconds: float = Field(default=1800, gt=0, le=LONGEST_WAIT_SECONDS, allow_inf_nan=False)
    """Seconds without progress after which a worker is stopped.  An update, an evaluation or the loading of data counts
    as progress."""
    checkpoint_seconds: float = Field(default=30, gt=0, allow_inf_nan=False)
    """Seconds of training between two checkpoints; a killed worker loses at most this much."""


class Schedule(Record):
    """The factor on the learning rate, as a function of the evaluations so far.

    constant: the factor is 1.
    step: it is multiplied by `factor` after every `every` evaluations.
    cosine: it falls from 1 to 0 over the updates of the trial.
    plateau: after the first `start` evaluations, it is multiplied by `factor` each time the validation loss is worse
    than the worst of the last `window` evaluations (the rule of the released music code).
    """

    kind: Literal["constant", "step", "plateau", "cosine"] = "constant"
    factor: float = Field(default=0.1, gt=0, lt=1)
    every: int = Field(default=10, ge=1)
    window: int = Field(default=3, ge=1)
    start: int = Field(default=10, ge=0)


class Optimisation(Record):
    """The optimiser and its settings."""

    optimizer: Literal["adam", "rmsprop", "sgd", "adagrad"] = "adam"
    learning_rate: float = Field(gt=0)
    """Step size per update, > 0."""
    clip: float | None = Field(default=None, gt=0)
    """Largest norm of the whole gradient, > 0; None: no clipping."""
    schedule: Schedule = Schedule()
    reduction: Literal["mean", "sum"] = "mean"
    """The loss that is back-propagated: sum / count over the batch, or the sum (as in the released music code)."""


class Training(Record):
    """The length of training, its batch size, evaluations and precision."""

    updates: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    evaluate_every: int = Field(ge=1)
    """Updates between two evaluations on validation; the last update is also followed by one."""
    patience: int | None = Field(default=None, ge=1)
    """Evaluations without a better score before training stops; None: it never stops early."""
    minimum_updates: int = Field(default=0, ge=0)
    """Updates before patience can stop training."""
    seconds: float | None = Field(default=None, gt=0)
    """Limit on the training time in seconds, whatever the number of updates; None: no limit."""
    precision: Precision = "float32"
    """Precision of products in training.  bfloat16: PyTorch's autocast; weights, losses and evaluations are float32."""
    evaluation_limit: int | None = Field(default=None, ge=1)
    """Number of first sequences, or windows of a stream, of validation and test that are scored; None: all.
    A score on a part is only for trying a set-up, and is marked as such."""


class TaskRef(Record):
    """A task by name, with the options that differ from its defaults."""

    name: str
    options: dict[str, ParamValue] = {}


class Plugin(Record):
    """The distribution that provides a model or a task."""

    name: str
    """Name of the distribution."""
    version: str


class Trial(Record):
    """One training run, as a worker receives it."""

    study: str
    cell: Cell
    phase: Phase
    number: int = Field(ge=0)
    task: TaskRef
    model: str
    params: dict[str, ParamValue]
    """Sampled values by dimension of the search space; tables and plots over trials show them."""
    build: dict[str, ParamValue]
    """Arguments of `Model.build`, including `dropout`."""
    widths: tuple[int, ...]
    parameters: int
    """Number of unique trainable parameters of the whole network."""
    embedding: int | None = None
    """Embedding size, if the input is tokens and a published setting states its own size."""
    tied: bool | None = None
    """Whether the decoder shares the embedding's weight, if a published setting has its own rule."""
    optimisation: Optimisation
    training: Training
    resources: Resources = Resources()
    seeds: Seeds
    repetition: int | None = None
    """Final trials: index of the repetition."""
    winner: str | None = None
    """Final trials: key of the search trial that won the cell; None for a published setting."""
    draw: int | None = None
    """Search trials: index of the draw from the search space."""
    rejections: tuple[str, ...] = ()
    """Search trials: why each draw between the previous trial and this one was rejected."""
    data: dict[str, str] = {}
    """Mapping from file name to sha256."""
    plugins: tuple[Plugin, ...] = ()
    """The plugins that provide the task and the model."""

    @property
    def key(self) -> str:
        """Unique name of the trial, as `study/task/model/phase/number`."""
        return f"{self.study}/{self.cell}/{self.phase}/{self.number}"

    @property
    def digest(self) -> str:
        """Digest of everything that determines the result.

        Trials with equal digests train the same network in the same way.
        """
        irrelevant = {"study", "cell", "phase", "number", "resources", "winner", "draw", "rejections", "repetition"}
        return digest_of(self.model_dump(mode="json", exclude=irrelevant))


class Point(Record):
    """One evaluation on validation."""

    update: int
    epoch: float
    seconds: float
    """Training time so far in seconds, over all attempts."""
    time: float
    """Seconds since 1970."""
    learning_rate: float
    train_loss: float
    """Mean of the primary loss over the batches since the previous point."""
    gradient_norm: float
    """Norm of the gradient before clipping, at the last update before this point."""
    metrics: dict[str, float]
    """Validation metrics by name."""


class TrialResult(Record):
    """The outcome of a trial and its measurements."""

    outcome: Outcome
    reason: str = ""
    score: float | None = None
    """The metric of the task on validation, at the best evaluation."""
    metrics: dict[str, dict[str, float]] = {}
    """Metrics by name, for each choice of weights and split: `validation`; for final trials also `test`
    (best-validation weights) and `test-last3` (mean over the weights of the last three evaluations, the paper's
    rule)."""
    updates: int = 0
    epochs: float = 0
    best_update: int | None = None
    train_seconds: float = 0
    """Time of training and evaluation in seconds, over all attempts."""
    started: float = 0
    """Start of the last attempt on its worker, in seconds since 1970."""
    ended: float = 0
    """End of the last attempt, in seconds since 1970."""
    peak_bytes: int | None = None
    """Largest resident memory of the worker, or memory allocated on the GPU, during the trial."""
    padding: float | None = None
    """Padding frames per real frame in the first training epoch, if sequences are ragged."""
    state_bytes: int | None = None
    """Size of the state that a recurrent pass carries for one sequence, if the backbone offers `scan`."""
    receptive_field: int | None = None
    """Receptive field in steps; None if unlimited or not stated."""
    node: str = ""
    worker: str = ""
    """Process that trained it, unique among nodes."""
    device: str = ""
    versions: dict[str, str] = {}
    weights: str | None = None
    """Final trials: path of the best-validation weights, relative to the study's folder."""
    weights_sha256: str | None = None
    test_opened: int = 0
    """Number of times the test split was scored: 0 in search, 1 in a final trial."""


class MetricFacts(Record):
    """The facts about a metric that a report needs; they replace the task's code."""

    name: str
    unit: str
    better: Literal["lower", "higher"]
    margin: float = 0.0
    scale: Literal["linear", "log"] = "linear"


class CellFacts(Record):
    """A planned cell: its budget and its references for comparison."""

    cell: Cell
    task: TaskRef
    model: str
    metric: MetricFacts
    others: tuple[MetricFacts, ...] = ()
    """Further metrics that the task reports."""
    parameters: int | None
    """The parameter budget; None under protocol `paper`, which uses the published widths unchanged."""
    task_parameters: int | None = None
    """The published size for the task; None if none is published."""
    setting: Literal["searched", "published"] = "searched"
    """`published`: a published setting in addition to the search of a fair study.  It was chosen with knowledge of the
    test set, so it is shown but not ranked.  Under protocol `paper`, cells are ranked among themselves."""
    floor: float | None = None
    published: float | None = None
    published_source: str = ""
    trials: int
    """Number of search trials allocated; 0 under protocol `paper`."""
    repetitions: int
    """Number of final trials allocated."""
    assumed: tuple[str, ...] = ()
    """Values of a published setting that its source does not state."""
    fingerprint: dict[str, str]
    """Mapping from the name of each input that affects the cell's trials to its digest."""

    def metric_of(self, name: str) -> MetricFacts | None:
        """Return the facts about the metric that a trial reports under this name, or None if it is unknown.

        A further reading of the test split has the facts of its metric: `perplexity-80-40` those of `perplexity`.
        """
        matching = [
            metric
            for metric in (self.metric, *self.others)
            if name == metric.name or name.startswith(f"{metric.name}-")
        ]
        return max(matching, key=lambda metric: len(metric.name), default=None)


class LeftOut(Record):
    """A cell that the study asks for but that has no trials, and the reason."""

    cell: Cell
    reason: str


class Manifest(Record):
    """The description of a study, stored in its folder and in MLflow."""

    schema_version: Literal[1] = 1
    study: str
    study_id: str
    created: float
    """Seconds since 1970."""
    protocol: Literal["fair", "paper"]
    sampler: str
    seed: int
    cells: tuple[CellFacts, ...]
    left_out: tuple[LeftOut, ...] = ()
    plugins: tuple[Plugin, ...] = ()
    versions: dict[str, str] = {}
    """Versions of the packages that can affect a result."""
    machine: dict[str, str] = {}
    git: str = ""
    data: dict[str, str] = {}
    """Mapping from file name to sha256."""
    race: bool = False
    """Whether models are dropped in rounds, which makes their repetitions unequal by design (`harness recommend`)."""
    fixed: dict[str, dict[str, tuple[int, ...]]] = {}
    """Values that each task drew from the seed `fixed`, by task label and name; see `Task.fixed`."""


OF_A_TASK = ("task options", "training", "parameters", "data")
"""Parts of a fingerprint that are equal in all cells of a task under protocol `fair`, whenever a cell was started."""
