"""The same forty trials as users of Ray Tune and of Optuna write them, after their tutorials; `peers.py` runs them.

    python benchmarks/peer_scripts.py (ray|optuna) FOLDER

Both log to `mlflow.db` in the folder.  Every trained trial adds a line to `trained.log` there.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness.api.signature import Signature
from harness.records import Optimisation, Training
from harness.seeds import Seeds
from harness.training.network import build_network
from harness.training.random_state import seed_everything
from harness.training.run import TrainingData, TrainingRun
from harness_models.recurrent import Gru
from harness_tasks.adding import Adding

TRIALS = 40
WORKERS = 2
LENGTH, SEQUENCES, WIDTH = 50, 2000, 30
UPDATES, BATCH_SIZE, EVALUATIONS = 40, 32, 2
SEEDS = Seeds.of(0, 0)


def train(learning_rate: float, clip: float, folder: Path) -> dict[str, float]:
    """Train one network and return its validation metrics; every script trains the same way as the harness."""
    torch.set_num_threads(1)
    task = Adding(length=LENGTH, sequences=SEQUENCES)
    signature: Signature = task.signature()
    seed_everything(SEEDS.init)
    network = build_network(Gru(), signature, (WIDTH,), {"layers": 1, "dropout": 0.0})
    run = TrainingRun(
        network,
        task,
        training=Training(updates=UPDATES, batch_size=BATCH_SIZE, evaluate_every=UPDATES // EVALUATIONS),
        optimisation=Optimisation(learning_rate=learning_rate, clip=clip),
        data=TrainingData(task.load("train", SEEDS, {}), task.load("validation", SEEDS, {})),
        seeds=SEEDS,
    )
    while run.outcome is None:
        run.advance(float("inf"))
    with (folder / "trained.log").open("a") as file:
        file.write(f"{run.seconds}\n")
    return dict(run.points[-1].metrics)


def with_ray(folder: Path) -> None:
    """Run Tune with OptunaSearch and its MLflow callback."""
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    def objective(config: Mapping[str, Any]) -> None:
        tune.report(train(config["learning_rate"], config["clip"], folder))

    ray.init("local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    tune.Tuner(
        tune.with_resources(objective, {"cpu": 1}),
        param_space={"learning_rate": tune.loguniform(2e-4, 2e-2), "clip": tune.choice([0.25, 1.0])},
        tune_config=tune.TuneConfig(
            metric="mse",
            mode="min",
            num_samples=TRIALS,
            search_alg=ConcurrencyLimiter(OptunaSearch(), max_concurrent=WORKERS),
        ),
        run_config=tune.RunConfig(
            name="peers",
            storage_path=str(folder / "ray_results"),
            callbacks=[MLflowLoggerCallback(tracking_uri=_uri(folder), experiment_name="peers", save_artifact=True)],
        ),
    ).fit()


def with_optuna(folder: Path) -> None:
    """Run Optuna with two threads, and log each trial to MLflow in the objective."""
    import mlflow
    import optuna

    mlflow.set_tracking_uri(_uri(folder))
    mlflow.set_experiment("peers")

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("learning_rate", 2e-4, 2e-2, log=True)
        clip = float(trial.suggest_categorical("clip", [0.25, 1.0]))
        with mlflow.start_run(run_name=f"trial-{trial.number}"):
            mlflow.log_params(trial.params)
            metrics = train(rate, clip, folder)
            mlflow.log_metrics(metrics)
        return metrics["mse"]

    optuna.create_study(direction="minimize").optimize(objective, n_trials=TRIALS, n_jobs=WORKERS)


def _uri(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", choices=["ray", "optuna"])
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    os.chdir(arguments.folder)
    (with_ray if arguments.script == "ray" else with_optuna)(arguments.folder.resolve())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
