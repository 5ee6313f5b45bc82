"""Benches: files, stimuli, measures, limits and their verdict, and what is made of them."""
