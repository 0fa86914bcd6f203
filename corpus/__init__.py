"""Papers in, papers out. Knows nothing of vectors or Streamlit (but for its command line, `__main__`)."""
