"""Surrogates for other programs: files that they read, golden events to hold them against, and what is lost (`write`)."""
