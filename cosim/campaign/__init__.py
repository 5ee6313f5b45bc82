"""Campaigns: many cases of one pure function, and the statistics of their results."""
