"""One file a page; pages compose panels, and hold what the session knows."""
