"""The verbs of `python -m components.training`, one file each."""
