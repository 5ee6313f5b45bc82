"""The outcome of a check, a limit or a yield."""

from enum import StrEnum


class Verdict(StrEnum):
    """The outcome of a check."""

    PASS = "pass"
    FAIL = "fail"
    CANNOT_TELL = "cannot tell"
