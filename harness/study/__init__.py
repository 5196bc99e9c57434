"""A study file: validated schema, cells, search spaces and parameter budgets."""
