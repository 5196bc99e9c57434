"""A study file becomes a plan: validated schema, cells, search spaces, and widths solved from the parameter budget."""
