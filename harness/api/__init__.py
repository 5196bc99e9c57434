"""The classes and functions for authors of models and tasks."""
