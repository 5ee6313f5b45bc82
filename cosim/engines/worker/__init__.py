"""Processes that run an engine and can be thrown away: their frames, limits and confinement."""
