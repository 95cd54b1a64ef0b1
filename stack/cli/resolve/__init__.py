"""A directory that `hopstack exec` puts on PYTHONPATH."""
