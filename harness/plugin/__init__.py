"""Hooks, entry points and the registry of models and tasks."""
