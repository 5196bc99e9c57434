"""Which trial comes next: ask and tell with samplers and parameter budgets, without files or workers."""
