"""Devices written in other languages by tracing their numpy functions."""
