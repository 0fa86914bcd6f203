"""The longer commands of `python -m corpus`, one a module: each adds its arguments and runs."""
