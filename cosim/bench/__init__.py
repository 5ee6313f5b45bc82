"""Benches: files, stimuli, measures, limits and verdicts, runs and validation."""
