"""Simulators: what runs a deck and gives waveforms back, or one of five outcomes."""
