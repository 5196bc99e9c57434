"""Records that travel between the layers, the ledger and the workers: names and numbers, frozen, JSON both ways."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.halving import Rung
from harness.seeds import Seeds

ParamValue = bool | int | float | str | None
Phase = Literal["search", "final"]
Precision = Literal["float32", "bfloat16"]
Outcome = Literal["complete", "diverged", "out-of-memory", "failed", "pruned"]
SCORED_OUTCOMES: tuple[Outcome, ...] = ("complete", "diverged")
"""Those with which a trial may have a score: a diverged one has that of its best evaluation before."""
LABEL = r"^[a-z0-9][a-z0-9.-]*$"
LONGEST_LABEL = 100
LONGEST_WAIT_SECONDS = 1e8
"""Three years; timers of C count no further than 292."""
Label = Annotated[str, Field(pattern=LABEL, max_length=LONGEST_LABEL)]


class Record(BaseModel):
    """Equal by value, immutable, unknown keys refused."""

    # JSON's own null would not come back as a number.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


def digest_of(value: object) -> str:
    """SHA-256 of the canonical JSON of `value`, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Cell(Record):
    """A pair of task label and model label in a study."""

    task: Label
    model: Label

    def __str__(self) -> str:
        return f"{self.task}/{self.model}"


class Resources(Record):
    """What one trial occupies, and how its worker is watched. Trials with equal resources form one resource class."""

    cpu: float = Field(default=1, gt=0, allow_inf_nan=False)
    """CPU cores per trial."""
    gpu: float = Field(default=0, ge=0, allow_inf_nan=False)
    """A fraction packs several trials on one GPU."""
    memory_gib: float = Field(default=0, ge=0, allow_inf_nan=False)
    """Reserved memory in GiB; 0 reserves none."""
    stack: int = Field(default=1, ge=1)
    """Final trials of a cell that are trained together as one, if their model offers `stack`. This fills a GPU that one
    small network leaves idle; on CPU no gain was measured."""
    graphs: bool = False
    """Whether the updates of a stack are recorded as CUDA graphs, one per batch shape. Not available with carried
    states."""
    hang_seconds: float = Field(default=1800, gt=0, le=LONGEST_WAIT_SECONDS, allow_inf_nan=False)
    """Seconds without progress in an update, an evaluation or the loading of data after which a worker is ended."""
    checkpoint_seconds: float = Field(default=30, gt=0, allow_inf_nan=False)
    """Training time between two checkpoints: what a kill can cost."""


class Schedule(Record):
    """The factor on the learning rate, as a function of the evaluations so far.

    constant: 1.  step: `factor` after every `every` evaluations.  cosine: from 1 to 0 over the updates of the trial.
    plateau: `factor` each time the validation loss is worse than the worst of the last `window` evaluations, once
    `start` evaluations are past (the rule of the released music code).
    """

    kind: Literal["constant", "step", "plateau", "cosine"] = "constant"
    """Form of the schedule."""
    factor: float = Field(default=0.1, gt=0, lt=1)
    """step and plateau: factor on the learning rate at each reduction."""
    every: int = Field(default=10, ge=1)
    """step: evaluations between reductions."""
    window: int = Field(default=3, ge=1)
    """plateau: evaluations that the last one is compared with."""
    start: int = Field(default=10, ge=0)
    """plateau: evaluations before the first reduction."""


class Optimisation(Record):
    """How weights are updated."""

    optimizer: Literal["adam", "rmsprop", "sgd", "adagrad"] = "adam"
    learning_rate: float = Field(gt=0)
    """Step size per update."""
    clip: float | None = Field(default=None, gt=0)
    """Largest norm of the whole gradient; None: no clipping."""
    schedule: Schedule = Schedule()
    reduction: Literal["mean", "sum"] = "mean"
    """What is back-propagated: sum / count of the batch, or the sum (the released music loss)."""


class Training(Record):
    """How long a trial trains, and its batch size."""

    updates: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    evaluate_every: int = Field(ge=1)
    """Updates between two evaluations on validation; there is one after the last update too."""
    patience: int | None = Field(default=None, ge=1)
    """Evaluations without a better score before training stops; None: never."""
    minimum_updates: int = Field(default=0, ge=0)
    """Updates before patience may act."""
    seconds: float | None = Field(default=None, gt=0)
    """Training ends after this many seconds, whatever the updates; None: no bound."""
    precision: Precision = "float32"
    """Precision of the products in training. bfloat16: PyTorch's autocast; weights, losses and evaluations stay in
    float32."""
    evaluation_limit: int | None = Field(default=None, ge=1)
    """Sequences, or windows of a stream, of validation and of test that are scored; None: all.  They are a sample that
    is drawn from the `fixed` seed, the same in every evaluation of a study.  A score over a sample is for trying a
    set-up, and is marked so."""


class TaskRef(Record):
    """A task by name, with the options that differ from its defaults."""

    name: str
    options: dict[str, ParamValue] = {}


class Plugin(Record):
    """The distribution that provides a model or a task."""

    name: str
    """Distribution."""
    version: str


class Trial(Record):
    """One training, as a worker receives it."""

    study: str
    cell: Cell
    phase: Phase
    number: int = Field(ge=0)
    task: TaskRef
    model: str
    params: dict[str, ParamValue]
    """The drawn value of each dimension of the space, as tables and plots show it."""
    build: dict[str, ParamValue]
    """The parameters of `Model.build`, `dropout` included."""
    widths: tuple[int, ...]
    parameters: int
    """Trainable, unique, the whole network."""
    embedding_parameters: int | None = None
    """Parameters of the encoder, which `parameters` includes; None in trials of earlier versions."""
    embedding: int | None = None
    """Embedding size where the input is tokens and a published setting states its own."""
    embedding_dropout: float | None = None
    """Share of the embedded numbers that training drops, where a published setting has one."""
    tied: bool | None = None
    """Whether the decoder shares the embedding's weight, if a published setting states it."""
    optimisation: Optimisation
    training: Training
    resources: Resources = Resources()
    seeds: Seeds
    repetition: int | None = None
    """Final trials: which of the cell's repetitions."""
    winner: str | None = None
    """For final trials: key of the search trial that won the cell; None for a published setting."""
    draw: int | None = None
    """Search trials: index of the draw that became this trial."""
    rejections: tuple[str, ...] = ()
    """Search trials: why the draws between the trial before and this one were rejected."""
    data: dict[str, str] = {}
    """File name → sha256."""
    plugins: tuple[Plugin, ...] = ()
    """The plugins that provide the task and the model."""
    until: int | None = Field(default=None, exclude_if=lambda until: until is None)
    """Under pruning: updates after which training pauses, set at each start; None: it trains to its end."""

    @property
    def key(self) -> str:
        return f"{self.study}/{self.cell}/{self.phase}/{self.number}"

    @property
    def digest(self) -> str:
        """Return a digest of everything that decides the result: trials with equal digests train the same network in
        the same way.
        """
        place = {"study", "cell", "phase", "number", "resources", "winner", "draw", "rejections", "repetition", "until"}
        # Trials that were stored before there were these fields keep their digest.
        added = {"embedding_parameters", *(["embedding_dropout"] if self.embedding_dropout is None else [])}
        return digest_of(self.model_dump(mode="json", exclude=place | added))


class Point(Record):
    """One evaluation on validation."""

    update: int
    epoch: float
    seconds: float
    """Training seconds so far, over all attempts."""
    time: float
    """Seconds since 1970."""
    learning_rate: float
    train_loss: float
    """Mean of the primary loss over the batches since the last point."""
    gradient_norm: float
    """Norm before clipping, at the last update before this point."""
    metrics: dict[str, float]
    """Validation, by metric name."""


class TrialResult(Record):
    """How a trial ended, and what it measured."""

    outcome: Outcome
    reason: str = ""
    score: float | None = None
    """The task's metric on validation, at the best evaluation.  A diverged trial has that of its best evaluation
    before, or None; outcomes other than these two have None."""
    metrics: dict[str, dict[str, float]] = {}
    """Which weights and split → metric → value: `validation`; finals also `test` (best-validation weights) and
    `test-last3` (mean over the weights of the last three evaluations, the paper's rule; none of a diverged trial)."""
    updates: int = 0
    epochs: float = 0
    best_update: int | None = None
    train_seconds: float = 0
    """Training and evaluation, over all attempts."""
    started: float = 0
    """Seconds since 1970, as `ended`: this attempt on its worker."""
    ended: float = 0
    peak_bytes: int | None = None
    """Largest resident memory of the worker, or memory allocated on the GPU, during the trial."""
    padding: float | None = None
    """Padded frames per real frame in training, if sequences are ragged."""
    state_bytes: int | None = None
    """Bytes of state that a recurrent pass carries for one sequence, if the backbone offers `scan`."""
    receptive_field: int | None = None
    """In steps; None if unlimited or not stated."""
    node: str = ""
    worker: str = ""
    """Process that trained it, unique among nodes."""
    device: str = ""
    versions: dict[str, str] = {}
    weights: str | None = None
    """Final trials: path of the best-validation weights, below the study's folder."""
    weights_sha256: str | None = None
    test_errors: dict[str, float] = {}
    """Metric → standard error of its `test` score over the test data; without metrics for which it is not finite."""
    test_groups: int | None = None
    """Groups of test sequences, or of windows of a stream, from which `test_errors` are estimated."""
    test_opened: int = 0
    """How often the test split was scored: 0 in search, 1 in a final trial."""


class MetricFacts(Record):
    """What a report needs to know about a metric without the task's code."""

    name: str
    unit: str
    better: Literal["lower", "higher"]
    margin: float = 0.0
    scale: Literal["linear", "log"] = "linear"


class CellFacts(Record):
    """A cell as planned: its allocated trials and what it is compared with."""

    cell: Cell
    task: TaskRef
    default_options: dict[str, ParamValue] = Field(default={}, exclude_if=lambda options: not options)
    """The options that `task` omits, with their values; without lists and tables, and empty in older studies."""
    model: str
    metric: MetricFacts
    others: tuple[MetricFacts, ...] = ()
    """Further metrics that the task reports."""
    parameters: int | None
    """The parameter budget; None under protocol `paper`, which trains published widths."""
    tolerance: float | None = None
    """Largest deviation from the budget, as a share of the count without the embedding; None in older studies."""
    allow_deviation: bool = False
    """Whether a cell that is off budget by more than that is ranked."""
    task_parameters: int | None = None
    """The published size of the task; None if none is published."""
    setting: Literal["searched", "published"] = "searched"
    """`published`: a published setting beside the search of a fair study. It was chosen with the test set in view, so
    it is shown but not ranked. Under protocol `paper`, cells are ranked among themselves."""
    floor: float | None = None
    """Of the test split."""
    validation_floor: float | None = None
    sampled_floors: bool = False
    """Whether floors are of the samples that `evaluation_limit` scores."""
    published: float | None = None
    published_source: str = ""
    trials: int
    """Search trials allocated; 0 under protocol `paper`."""
    rungs: tuple[Rung, ...] = Field(default=(), exclude_if=lambda rungs: not rungs)
    """Successive halving: the rungs of the search; empty without pruning."""
    repetitions: int
    """Final trials allocated."""
    assumed: tuple[str, ...] = ()
    """Values of a published setting that its source does not state."""
    fingerprint: dict[str, str]
    """Name of what alters the cell's trials → digest."""

    def metric_of(self, name: str) -> MetricFacts | None:
        """Return the facts of a reported metric; `perplexity-80-40`, a further reading, has those of `perplexity`."""
        every = (self.metric, *self.others)
        known = [facts for facts in every if name == facts.name or name.startswith(f"{facts.name}-")]
        return max(known, key=lambda facts: len(facts.name), default=None)


class LeftOut(Record):
    """A cell that the study asks for and that is not in its results, and why."""

    cell: Cell
    reason: str


class Manifest(Record):
    """What a study's folder records about the study, mirrored to MLflow."""

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
    """Package → version, of the packages that can alter a result."""
    machine: dict[str, str] = {}
    git: str = ""
    data: dict[str, str] = {}
    """File name → sha256."""
    race: bool = False
    """Models are dropped in rounds, so that their repetitions are unequal by design: see `recommend`."""
    fixed: dict[str, dict[str, tuple[int, ...]]] = {}
    """Task label → name → what the task drew from the `fixed` seed: see `Task.fixed`."""


OF_A_TASK = ("task options", "training", "parameters", "data", "pruning")
"""Parts of a fingerprint that are equal in every cell of a task under `fair`."""
