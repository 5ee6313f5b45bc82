"""The digest by which a record of exports ages: it moves with what code says, and with nothing else."""

import pytest

from claims.exports import TRAINED, settings
from claims.exports_subjects import SUBJECTS
from claims.law_code import digest_of, law_digest

LAW = '''
"""A law."""
from numpy import exp


def law(v: float, tau: float = 2.0) -> float:
    """Leaks."""
    if tau <= 0.0:
        raise ValueError(f"tau = {tau} is no time")
    return v * exp(-1.0 / tau)  # evenly
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # evenly", ""),
        ('"""Leaks."""', '"""Leaks evenly, and says more."""'),
        ("is no time", "has to be above zero"),
        ("from numpy import exp\n", "from numpy import exp, log\n"),
        ("v: float", "v: object"),
        ("law(v: float, tau: float = 2.0)", "law(\n    v: float,\n    tau: float = 2.0,\n)"),
    ],
)
def test_the_digest_of_a_law_stays_with_what_does_not_run(old: str, new: str) -> None:
    assert old in LAW
    assert digest_of([LAW.replace(old, new)]) == digest_of([LAW])


@pytest.mark.parametrize(
    ("old", "new"), [("= 2.0", "= 2.5"), ("-1.0", "-1.1"), ("<=", "<"), ("v *", "v +"), ("exp(-", "exp(+")]
)
def test_the_digest_of_a_law_moves_with_the_law(old: str, new: str) -> None:
    assert old in LAW
    assert digest_of([LAW.replace(old, new)]) != digest_of([LAW])


def test_a_law_may_move_from_file_to_file() -> None:
    one, two = "def f(x):\n    return 2 * x\n", "def g(x):\n    return f(x) + 1\n"
    assert digest_of([one, two]) == digest_of([two + one]) != digest_of([one])


def test_a_pattern_that_matches_no_file_is_told() -> None:
    with pytest.raises(AssertionError, match="no_such"):
        law_digest(["surrogate/no_such*.py"])


def test_every_subject_ages_by_its_code_or_by_the_probe() -> None:
    by_code = settings()["laws"]
    assert set(by_code) == {"lif neuron", "dpi filter"}
    assert len(set(by_code.values())) == 2
    assert {subject.name for subject in SUBJECTS} > set(TRAINED)
