"""Surrogates: fast pulse-level models with a certificate."""
