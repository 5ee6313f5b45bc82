"""What is said about a bench or a recipe that has something of the wrong kind: plain words, the key, the line."""

# ruff: noqa: E501  (a table reads by its rows)

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.bench.file import BenchFile
from cosim.bench.testbench import Testbench
from cosim.errors import InputError, UnknownName
from cosim.fitting.recipe import FitRecipe
from cosim.schema import validate

HEAD = 'title = "t"\ncircuit = "R1 a 0 1"\n'
OP = '[analysis]\nkind = "op"\n'
# What pydantic would say, and nobody who writes TOML should read.
JARGON = re.compile(
    r"[Ii]nput should|valid |instance of|dictionary|tuple|discriminator|function-|type=|str\b|int\b|float\b"
)
WRONG = {
    "a number for a table": (OP + "[corners]\nhot = 5", 6, "corners.hot is 5, and has to be a table; write [corners.hot]"),
    "text for a table": ('analysis = "tran"', 3, 'analysis is "tran", and has to be a table; write [analysis]'),
    "text for a measure": (OP + '[measures]\nm = "max"', 6, 'measures.m is "max", and has to be a table'),
    "text for a list": (OP + '[stimuli.s]\nkind = "pulses"\namplitudes = "2 V"', 7,
                        'stimuli.s.amplitudes is "2 V", and has to be a list of quantities in V, not empty; write it in'),
    "an empty list": (OP + '[stimuli.s]\nkind = "pulses"\namplitudes = []', 7, "amplitudes is an empty list, and has to"),
    "a list that is too short": (OP + '[stimuli.s]\nkind = "random-pulses"\ncount = 9\nseed = 0\npositive = ["1 V"]\n'
                                 'negative = ["1 V", "2 V"]', 9, "stimuli.s.positive is a list of 1, and has to be a list of 2: quantity in V, quantity in V"),
    "a number for text": (OP + '[measures.m]\nkind = "max"\nof = 3', 7, "measures.m.of is 3, and has to be text"),
    "text for a number": (OP + '[corners.hot]\ntemperature = "hot"', 6,
                          'corners.hot.temperature is "hot", and has to be a number > -273.15'),
    "text for a whole number": (OP + '[monte_carlo]\nsamples = "many"', 6,
                                'samples is "many", and has to be a whole number > 0'),
    "a number out of its bounds": (OP + '[stimuli.s]\nkind = "random-pulses"\ncount = 0\nseed = 0\n'
                                   'positive = ["1 V", "2 V"]\nnegative = ["1 V", "2 V"]', 7,
                                   "stimuli.s.count is 0, and has to be a whole number > 0"),
    "a table for a quantity": (OP + "[limits.m]\nmax = { a = 1 }", 6, "limits.m.max is a table, and has to be text or number"),
    "text for yes or no": (OP + '[trust]\nrepeat = "perhaps"', 6, 'repeat is "perhaps", and has to be true or false'),
    "a list for an option": (OP + "[options]\nreltol = [1]", 6, "options.reltol is a list of 1, and has to be a number or"),
    "a quantity that is a list": (OP + "[parameters]\nw = [1, 2]", 6, "w is a list of 2, and has to be a quantity with a"),
    "a key that is missing": ('[analysis]\nkind = "tran"', 3, "bench lacks analysis.max_step; add it: a quantity in s"),
    "a kind that is missing": ('[analysis]\nmax_step = "1 ns"', 3, "does not say its kind; write kind = one of tran, dc"),
    "text where a table has a unit": (OP + "[parameters]\nw = { unit = 3, value = 1 }", 6, "parameters.w"),
}  # fmt: skip
UNKNOWN = {
    "a kind": ('[analysis]\nkind = "trans"', 3, "unknown kind 'trans' in analysis; did you mean tran?"),
    "a measure's kind": (OP + '[measures.m]\nkind = "maxi"\nof = "v(a)"', 5, "'maxi' in measures.m; did you mean max?"),
    "a choice": (OP + '[devices.d]\nparameters = "tio2"\nform = "va"', 7, "'va'; known: behavioural, verilog-a"),
    "a choice in a distribution": (OP + '[monte_carlo]\nsamples = 3\nparameters = { w = { relative = 0.1, '
                                   'distribution = "norml" } }', 7, "'norml'; did you mean normal"),
    "a key": (OP + "[corners]\nhot = { temprature = 3 }", 6, "'temprature' in bench; did you mean temperature"),
}  # fmt: skip


def said(text: str, model: type = BenchFile) -> InputError:
    with pytest.raises(InputError) as caught:
        validate(model, tomllib.loads(text), text=text, kind="bench")
    return caught.value


@pytest.mark.parametrize("case", WRONG)
def test_a_value_of_the_wrong_kind(case: str) -> None:
    text, line, message = WRONG[case]
    error = said(HEAD + text)
    assert message in str(error)
    assert error.where is not None
    assert error.where.line == line
    assert not JARGON.search(str(error)), error


@pytest.mark.parametrize("case", UNKNOWN)
def test_a_malformed_name(case: str) -> None:
    text, line, message = UNKNOWN[case]
    error = said(HEAD + text)
    assert isinstance(error, UnknownName)
    assert message in str(error)
    assert error.where is not None
    assert error.where.line == line


RECIPE = {
    "name": "r", "device": "access_transistor", "fit": {"vary": ["g_on"]},
    "data": {"kind": "i-v", "file": "iv.csv", "columns": {"voltage": {"name": "V"}, "current": {"name": "I"}}},
}  # fmt: skip
VALUES = st.one_of(
    st.integers(-3, 3), st.booleans(), st.text("ab", max_size=3), st.just([]), st.just([1, "a"]), st.just({}),
    st.just({"kind": "op"}), st.just({"kind": 3}), st.just([[1]]), st.just({"a": {"b": 1}}),
)  # fmt: skip
BENCH = {"title": "t", "circuit": "R1 a 0 1", "analysis": {"kind": "op"}}


@given(key=st.sampled_from(sorted(BenchFile.model_fields)), value=VALUES, inner=st.sampled_from(["", "x", "kind"]))
def test_no_jargon_whatever_a_bench_holds(key: str, value: object, inner: str) -> None:
    _plain(BenchFile, {**BENCH, key: {inner: value} if inner else value})


@given(key=st.sampled_from(["name", "device", "data", "start", "fit", "noise", "held_out", "ramps", "candidates"]),
       value=VALUES, inner=st.sampled_from(["", "kind", "columns", "vary", "rule", "values", "sigma", "polarity"]))  # fmt: skip
def test_no_jargon_whatever_a_recipe_holds(key: str, value: object, inner: str) -> None:
    _plain(FitRecipe, {**RECIPE, key: {inner: value} if inner else value})


def _plain(model: type, data: dict) -> None:
    try:
        validate(model, data, kind="file")
    except InputError as error:
        sentence = str(error)
        assert "\n" not in sentence
        assert not re.search(
            r"[Ii]nput should|valid (dict|str|int|num|tup|list)|instance of|discriminator|function-", sentence
        )
    except pydantic.ValidationError as error:  # what a user must never see
        raise AssertionError(str(error)) from None


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('[corners.hot]\nparameters.r = "2 V"', "a value in V, the bench's is in Ohm"),
        ('[corners.hot]\nparameters.r = "2 kOhm"', ""),
        ('[corners.hot]\nparameters.rr = "2 kOhm"', "did you mean r"),
        ('[monte_carlo]\nsamples = 3\nparameters.r = { absolute = "10 V" }', "a value in V"),
        ('[monte_carlo]\nsamples = 3\nparameters.q = { relative = "1 %" }', "known: r"),
        ('[monte_carlo]\nsamples = 3\nparameters.r = { absolute = "10 Ohm" }', ""),
    ],
)
def test_a_value_that_replaces_a_parameter_has_its_unit(tmp_path: Path, table: str, says: str) -> None:
    file = tmp_path / "b.toml"
    head = 'title = "b"\ncircuit = "R1 a 0 {r}"\n[parameters]\nr = { value = "1 kOhm", unit = "Ohm" }\n'
    file.write_text(f'{head}[analysis]\nkind = "op"\n{table}\n')
    if not says:
        Testbench.load(file)
        return
    with pytest.raises(InputError, match=says):
        Testbench.load(file)
    file.write_text(f'{head}[analysis]\nkind = "op"\nsweep.r = ["1 V"]\n')
    with pytest.raises(InputError, match="a value in V"):
        Testbench.load(file)
