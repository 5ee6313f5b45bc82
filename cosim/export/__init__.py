"""Surrogates for other programs: the files that they read, golden events, and what is lost (`write`)."""
