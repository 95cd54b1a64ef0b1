"""Faults that are ordered: a link that is slow, refuses or breaks off, a hop that fails; seen as injected."""
