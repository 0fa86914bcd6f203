"""Judged sets: queries, pools of candidates and grades, for evaluation. See model.py."""
