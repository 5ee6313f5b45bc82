"""Texts of options that every ``cosim network`` command has."""

ANYWAY = "Resume, even if other code than this has trained what is there; the result names both."
