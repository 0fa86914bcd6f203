"""The verbs of `python -m components.evaluation`."""
