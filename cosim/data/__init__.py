"""Measured recordings: what their columns mean, readers of files, public data sets."""
