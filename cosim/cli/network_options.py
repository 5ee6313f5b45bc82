"""Texts of options that several commands have."""

from typing import Annotated

import typer

ANYWAY = "Resume, even if other code than this has trained what is there; the result names both."
Uncertified = Annotated[
    bool, typer.Option("--uncertified", help="Take a surrogate without a certificate, or one that misses its limits.")
]
