"""What the author of a model or a task subclasses and uses."""
