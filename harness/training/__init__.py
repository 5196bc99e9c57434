"""Train one network, or several vectorized: batches, optimizers, evaluation, checkpoints."""
