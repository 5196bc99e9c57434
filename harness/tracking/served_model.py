"""The code of a model in MLflow.  MLflow copies this file into the model and runs it; nothing is pickled."""

from __future__ import annotations

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class ServedWinner(PythonModel):
    """Predicts with a folder that `harness.Winner.save` wrote."""

    def load_context(self, context: PythonModelContext) -> None:
        from harness import load_winner

        self.winner = load_winner(context.artifacts["winner"])

    # MLflow would take other hints for a schema.  If the model's signature has arrays, they come in and go out.
    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, str] | None = None
    ) -> pd.DataFrame:
        """Return the predictions for a DataFrame or arrays by name, or the outputs for an array of sequences."""
        if isinstance(model_input, np.ndarray):
            return self.winner.outputs_of(model_input)
        return self.winner.predict(model_input)


mlflow.models.set_model(ServedWinner())
