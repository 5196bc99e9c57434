"""Which architecture to use: a race between models, and its winner ready for prediction."""
