"""Extraction: from a measured curve to a parameter set with a verdict (`extract`)."""
