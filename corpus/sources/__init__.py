"""Sources: where papers come from when the user brings no file."""
