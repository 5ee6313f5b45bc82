"""Hidden states in every writing, and events: what ``lint --fix`` makes of them, read as the language has it.

No simulator: both the model and its repaired text are walked by `va_reading`, the latter with ``reset_time`` as long
as four steps, since an explicit walk, which sees a node a step late, cannot follow less.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.devices.base import Array
from cosim.language.expressions import Unreadable
from cosim.lint import va_behavioural, va_fix, va_rules
from cosim.lint.va_reading import ModuleReading

STEP = 1e-9  # s
TIMES = np.arange(4001) * STEP
VOLTS = np.sin(2.0 * np.pi * TIMES / 2e-6)
NEAR = 4e-3  # of full scale: what both walks owe to the step, 1/2000 of a period (halved with it)


def model(declared: str, body: str) -> str:
    head = '`include "disciplines.vams"\nmodule m(p, n);\ninout p, n;\nelectrical p, n;\n'
    return f"{head}{declared}\nanalog begin\n{body}\nend\nendmodule\n"


def fixed(text: str) -> tuple[str, tuple[str, ...]]:
    found = va_fix.fix(va_rules.read(text, Path()))
    return found.text, found.left


def current(text: str, volts: Array = VOLTS) -> Array:
    read = va_rules.read(text.replace("reset_time = 1e-12", f"reset_time = {4 * STEP}"), Path())
    return ModuleReading(read, read.modules[0], STEP).run(TIMES, volts).i


STEPPED = "h = $abstime - told;\n{}\ntold = $abstime;"
OUT = "I(p, n) <+ 1m*(1 + x)*V(p, n);"
WRITINGS = {
    "trapezoid": model(
        "real x, f, f_old, told, h;",
        "@(initial_step) x = 0.2;\n"
        + STEPPED.format(f"f = 1e6*V(p, n)*(1 - x);\nx = x + 0.5*(f + f_old)*h;\n{OUT}\nf_old = f;"),
    ),
    "trapezoid, the old rate first": model(
        "real x, f, f_old, told, h;",
        "@(initial_step) x = 0.2;\n"
        + STEPPED.format(f"f_old = f;\nf = 1e6*V(p, n)*(1 - x);\nx = x + 0.5*(f + f_old)*h;\n{OUT}"),
    ),
    "exponential": model(
        "parameter real tau = 1u;\nreal x, to, told, h;",
        STEPPED.format(f"to = tanh(V(p, n));\nx = to + (x - to)*exp(-h/tau);\n{OUT}"),
    ),
    "exponential, its factor in a variable": model(
        "parameter real tau = 1u;\nreal x, e, told, h;",
        STEPPED.format(f"e = exp(-h/tau);\nx = x*e + V(p, n)*(1 - e);\n{OUT}"),
    ),
    "a weighted mean": model(
        "parameter real tau = 1u;\nreal x, told, h;", STEPPED.format(f"x = (tau*x + h*V(p, n))/(tau + h);\n{OUT}")
    ),
    "Runge-Kutta, by a function": model(
        "real x, k1, k2, xm, told, h;\nanalog function real f;\ninput u, y;\nreal u, y;\nf = 1e6*u*(1 - y)*y;\n"
        "endfunction",
        "@(initial_step) x = 0.2;\n"
        + STEPPED.format(f"k1 = f(V(p, n), x);\nxm = x + 0.5*h*k1;\nk2 = f(V(p, n), xm);\nx = x + h*k2;\n{OUT}"),
    ),
    "a difference of voltages over one of times": model(
        "parameter real c = 1n;\nreal v, old, told, slope;",
        "@(initial_step) begin old = 0; told = 0; end\nv = V(p, n);\n"
        "if ($abstime > told) slope = (v - old)/($abstime - told); else slope = 0;\n"
        "I(p, n) <+ c*slope + 1m*v;\nold = v;\ntold = $abstime;",
    ),
    "a difference of voltages, and its sign": model(
        "real x, old, dv;",
        f"dv = V(p, n) - old;\nif (dv > 0) x = x + 0.3*dv; else x = x + 0.5*dv;\n{OUT}\nold = V(p, n);",
    ),
    "a peak": model("real x;", f"x = max(x, V(p, n));\n{OUT}"),
    "a peak, by a condition": model("real x, v;", f"v = V(p, n);\nif (v > x) x = v;\n{OUT}"),
    "a peak that leaks": model(
        "parameter real tau = 1u;\nreal x, told, h;", STEPPED.format(f"x = max(x*exp(-h/tau), V(p, n));\n{OUT}")
    ),
    "a voltage that is followed while another is high": model(
        "real x;", f"if (V(p, n) > 0.5) x = V(p, n)*V(p, n);\n{OUT}"
    ),
}


@pytest.mark.parametrize("name", WRITINGS)
def test_a_state_in_any_writing_is_the_same_one(name: str) -> None:
    text, left = fixed(WRITINGS[name])
    assert left == ()
    meant = current(WRITINGS[name])
    lag = 6 * STEP * np.pi * 1e6 if "reset_time" in text else 0.0  # of the voltage, in its steepest place
    assert np.quantile(np.abs(current(text) - meant), 0.99) < (NEAR + lag) * np.max(np.abs(meant))


ARRAYS = {
    "two states, by a loop over a parameter": model(
        "parameter integer count = 2;\nparameter real k[0:1] = '{2e5, 5e5};\nreal w[0:1], total, told, h;\ninteger i;",
        "@(initial_step) for (i = 0; i < count; i = i + 1) w[i] = 0.1*(i + 1);\nh = $abstime - told;\ntotal = 0;\n"
        "for (i = 0; i < count; i = i + 1) begin\nw[i] = w[i] + k[i]*V(p, n)*(1 - w[i])*h;\n"
        "total = total + w[i];\nend\n"
        "told = $abstime;\nI(p, n) <+ 1m*total*V(p, n);",
    ),
    "a genvar, ranges behind the type, downwards": model(
        "genvar i;\nreal [2:0] a, b;",
        "for (i = 2; i >= 0; i = i - 1) a[i] = (i + 1)*V(p, n);\nfor (i = 0; i < 3; i = i + 1) b[2 - i] = a[i]*a[i];\n"
        "I(p, n) <+ 1m*(b[0] + 10*b[1] + 100*b[2]);",
    ),
    "two dimensions": model(
        "real m[0:1][0:2], s;\ninteger i, j;",
        "s = 0;\nfor (i = 0; i < 2; i = i + 1)\nfor (j = 0; j < 3; j = j + 1) begin\nm[i][j] = (10*i + j)*V(p, n);\n"
        "s = s + m[i][j];\nend\nI(p, n) <+ 1m*s;",
    ),
    "an index that is read behind its loop": model(
        "real x[0:2], s;\ninteger i;",
        "s = 0;\nfor (i = 0; i < 3; i = i + 1) begin\nx[i] = i + 1;\ns = s + x[i];\nend\nI(p, n) <+ 1m*s*i*V(p, n);",
    ),
    "a loop over a real number": model(
        "real x[0:3], s, k;",
        "s = 0;\nfor (k = 0; k < 4; k = k + 1) begin\nx[k] = 1;\ns = s + x[k]*(k/2);\nend\nI(p, n) <+ 1m*s*V(p, n);",
    ),
    "an index that a voltage decides": model(
        "parameter real g[0:2] = '{1m, 2m, 5m} from (0:inf);\ninteger k;",
        "k = (V(p, n) > 0.5) ? 2 : (V(p, n) > 0) ? 1 : 0;\nI(p, n) <+ g[k]*V(p, n);",
    ),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_single_variables(name: str) -> None:
    text, left = fixed(ARRAYS[name])
    assert left == ()
    assert "[" not in text.replace("{", "")
    meant = current(ARRAYS[name])
    assert np.max(np.abs(current(text) - meant)) < NEAR * np.max(np.abs(meant))


@pytest.mark.parametrize(
    ("declared", "body", "why"),
    [
        ("real x[0:1];", "x[0] = x[2];", "which the array does not have"),
        ("real x[0:1];\ninteger k;", "k = V(p, n) > 0;\nx[k] = 1;", "depends on the variable 'k'"),
        ("real x[0:999];", "x[0] = 1;", "too many elements"),
        ("real x[0:1];\ninteger k;", "for (k = 0; k < 2; k = k) x[k] = 1;", "has more than 256 turns"),
        (
            "real x[0:3];\ninteger i, j, k;",
            "for (i = 0; i < 200; i = i + 1) for (j = 0; j < 200; j = j + 1)\n"
            "for (k = 0; k < i; k = k + 1) x[k % 4] = j;",
            "too long",
        ),
        ("electrical s[0:1];", "V(s[0]) <+ V(p, n);", ""),
        ("real x[0:1];\ninteger k;", "for (k = 0; k < pow(10, 400); k = k + 1) x[0] = 1;", "not finite"),
        ("real x[0:1e400];", "x[0] = 1;", "not finite"),
        ("real x[0:1];", "x[sqrt(-1)] = 1;", "not finite"),
        ("real x[0:1];\ninteger k;", "for (k = 0; k < 2; k = k + 1) begin x[0] = 1; k = k + 1; end", "assigns it"),
    ],
)
def test_other_arrays_are_left(declared: str, body: str, why: str) -> None:
    _, left = fixed(model(declared, body + "\nI(p, n) <+ V(p, n);"))
    assert any("arrays and buses" in reason and why in reason for reason in left), left


def switch(declared: str, body: str) -> str:
    return model(declared, f"{body}\nI(p, n) <+ V(p, n)/(on ? 1k : 100k);")


LATCHES = {
    "integers": switch(
        "parameter real up = 0.7, down = -0.5;\ninteger on;",
        "@(initial_step) on = 0;\n@(cross(V(p, n) - up, +1)) on = 1;\n@(cross(V(p, n) - down, -1)) on = 0;",
    ),
    "a real number that is asked for its truth": switch(
        "real on;", "@(cross(V(p, n) - 0.7, +1)) on = 1;\n@(cross(V(p, n) + 0.5, -1)) on = 0;"
    ),
    "arguments in variables": switch(
        "integer on;\nreal v, up, down;",
        "v = V(p, n);\nup = v - 0.7;\ndown = v + 0.5;\n@(cross(up, +1)) on = 1;\n@(cross(down, -1)) on = 0;",
    ),
    "events that 'or' joins": switch(
        "integer on;",
        "@(initial_step or cross(V(p, n) + 0.5, -1)) on = 0;\n"
        "@(cross(V(p, n) - 0.7, +1) or cross(V(p, n) - 0.9, +1)) on = 1;",
    ),
    "a choice that may be itself": switch("integer on;", "on = (V(p, n) > 0.7) ? 1 : (V(p, n) < -0.5) ? 0 : on;"),
    "a copy of the event": switch(
        "integer high, on;",
        "@(above(V(p, n) - 0.7)) high = 1;\n@(cross(V(p, n) - 0.7, -1)) high = 0;\n"
        "if (high) on = 1;\nif (V(p, n) < -0.5) on = 0;",
    ),
}


@pytest.mark.parametrize("name", LATCHES)
def test_what_is_set_to_constants_is_a_latch(name: str) -> None:
    text, left = fixed(LATCHES[name])
    assert left == ()
    assert "@(cross" not in text
    assert "@(above" not in text
    different = np.abs(current(text) - current(LATCHES[name])) > 1e-12
    assert np.count_nonzero(different) <= 40  # of 4001 steps: five for each of four jumps, twice for a copy


REFUSED = {
    "an amount at each step": (model("real x;", f"x = x + 1e-3*V(p, n);\n{OUT}"), "without a time step"),
    "an amount at each step, by a condition": (
        model("real x;", f"if (V(p, n) > 0.5) x = x + 0.1;\n{OUT}"), "without a time step",
    ),
    "an edge between two steps": (
        model("real x, old, v, told;",
              "v = V(p, n);\nif (v > 0.5 && old <= 0.5) x = x + ($abstime - told);\nold = v;\ntold = $abstime;\n"
              + OUT),
        "an event between two steps",
    ),
    "the time of an event": (
        model("real x, t0;", f"if (V(p, n) > 0.5) t0 = $abstime;\nx = exp(-($abstime - t0)/1m);\n{OUT}"),
        "at which something happened",
    ),
    "a step that is measured now and then": (
        model("real x, told, h;",
              f"if (V(p, n) > 0.5) h = $abstime - told;\nx = x + 1e6*V(p, n)*h;\ntold = $abstime;\n{OUT}"),
        "without a time step",
    ),
    "an event in both directions": (switch("integer on;", "@(cross(V(p, n) - 0.7)) on = 1;"), "both directions"),
    "events that can be past at once": (
        switch("integer on;", "@(cross(V(p, n) - 0.3, +1)) on = 1;\n@(cross(V(p, n) - 0.7, -1)) on = 0;"),
        "the later one counts",
    ),
    "an event of a scaled voltage, likewise": (
        switch("integer on;", "@(cross(10*V(p, n) - 3, +1)) on = 1;\n@(cross(5*V(p, n) - 3, -1)) on = 0;"),
        "the later one counts",
    ),
    "an event that keeps a value": (switch("real on;", "@(cross(V(p, n) - 0.7, +1)) on = V(p, n);"), "not constant"),
    "an event that counts": (switch("integer on;", "@(cross(V(p, n) - 0.7, +1)) on = on + 1;"), "not constant"),
    "an event beside a rate": (
        model("real x, told;",
              f"x = x + 1e6*V(p, n)*($abstime - told);\n@(cross(V(p, n) - 0.7, +1)) x = 0;\ntold = $abstime;\n{OUT}"),
        "changes in line 7 too",
    ),
    "an event that is past at the start": (
        switch("integer on;", "@(cross(V(p, n) + 0.7, +1)) on = 1;\n@(cross(V(p, n) + 0.9, -1)) on = 0;"), "at 0 V",
    ),
    "an event that asks for what it sets": (
        switch("integer on;", "@(cross(V(p, n) - on, +1)) on = 1;"), "which keeps a value itself",
    ),
    "an event of the start and of a crossing that sets a state": (
        model("real x, h, told;", STEPPED.format(
            f"@(initial_step or cross(V(p, n) - 0.7, +1)) x = 0.1;\nx = x + 1e6*V(p, n)*h;\n{OUT}")),
        "'x' changes in line",
    ),
    "events of which both can be past, as a power of a voltage has it": (
        switch("integer on;\nreal u;", "u = 1000*V(p, n);\n@(cross((u - 600)*(800 - u), +1)) on = 1;\n"
               "@(cross(u - 700, +1)) on = 0;"), "can be past at once",
    ),
    "an event that is enabled": (
        switch("integer on;", "@(cross(V(p, n) - 0.7, +1, 1n, 1m, 0)) on = 1;"), "enabled by an argument",
    ),
    "an event under a condition": (
        switch("integer on;", "if (V(p, n) > 0.2) begin @(cross(V(p, n) - 0.7, +1)) on = 1; end"), "stands under",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_depends_on_the_steps_or_on_an_instant_is_refused(name: str) -> None:
    text, why = REFUSED[name]
    repaired, left = fixed(text)
    assert "idt(" not in repaired
    assert any(why in reason for reason in left), left


def test_integers_round_in_functions_too() -> None:
    f = (
        "analog function integer f;\ninput u;\nreal u;\ninteger k;\nbegin k = 2.5; f = k*u; end\nendfunction\n"
        "integer m[0:1];"
    )
    text = model(f, "m[0] = 3;\nI(p, n) <+ (f(1.1) + f(-1.5) + f(1.0)/2 + m[0]/2)*V(p, n);")
    assert current(text, np.ones_like(TIMES))[0] == 3 - 5 + 1 + 1  # halves away from zero, quotients towards it
    read = va_rules.read(text.replace("integer m[0:1];", "").replace("m[0]", "f(1)").replace("f(1) = 3;", ""), Path())
    written = va_behavioural.subcircuit(read, read.modules[0])[0]
    assert "nint(" not in written  # which takes a half to the even number
    assert "floor(abs(2.5) + 0.5)" in written  # k
    assert "ceil(" in written  # the quotients


def test_the_branch_of_an_analysis_stays() -> None:
    text = model(
        "real x, g, h, told;",
        "@(initial_step) x = 0.5;\n"
        + STEPPED.format(f'if (analysis("tran")) g = 2; else g = 1;\nx = x + h*g*1e6*V(p, n)*x*(1 - x);\n{OUT}'),
    )
    repaired, left = fixed(text)
    assert left == ()
    assert 'if (analysis("tran")) g = 2; else g = 1;' in repaired
    assert np.max(np.abs(current(repaired) - current(text))) < NEAR * np.max(np.abs(current(text)))


def test_a_state_is_not_repaired_beside_one_whose_time_step_would_go() -> None:
    text = model("real x, y, h, told;", STEPPED.format(f"y = y*h + V(p, n);\nx = x + h*1e6*V(p, n);\n{OUT}"))
    repaired, left = fixed(text)
    assert "y = y*h + V(p, n);" in repaired
    assert any("'x'" in reason for reason in left), left


def test_a_timer_ticks_when_it_says() -> None:
    text = model("real n_;", "@(timer(1.5e-9, 0.4e-9)) n_ = n_ + 1;\nI(p, n) <+ n_;")
    assert current(text)[[0, 1, 2, 3, 4]] == pytest.approx([0, 0, 2, 4, 7])  # 1.5, 1.9, 2.3, 2.7, 3.1, 3.5, 3.9


@pytest.mark.parametrize(
    ("declared", "tick"), [("integer k;", "k = (k + 1) % 2;"), ("real k;", "k = -k;"), ("real k;", "k = k*0.5;")]
)
def test_a_timer_that_counts_has_no_rate(declared: str, tick: str) -> None:
    text = model(declared, f"@(timer(0, 1e-9)) {tick}\nI(p, n) <+ (2 + k)*V(p, n);")
    fixed = va_fix.fix(va_rules.read(text, Path()))
    smooth = "0.5" in tick
    assert any("@(timer) changes" in one for one in fixed.done) == smooth
    assert smooth or any("@(timer) is not supported" in one and "line" in one for one in fixed.left)


def test_a_division_that_is_meant_is_no_finding() -> None:
    text = model("integer m;", "m = 7;\nI(p, n) <+ m/2*V(p, n);{}")
    said = [
        {finding.rule for finding in va_rules.check(va_rules.read(text.replace("{}", comment)))}
        for comment in (
            "", " // rounds down",
            " // see lint: allow nothing, but integer-division", " // no // lint: allow integer-division",
            " /* // lint: allow integer-division */", " // lint: allow integer-division",
            " // lint: allow log, integer-division",
        )
    ]  # fmt: skip
    assert said == [*[{"integer-division"}] * 5, set(), set()]


def test_parameters_by_which_events_are_conditions_are_named() -> None:
    done = va_fix.fix(va_rules.read(LATCHES["integers"], Path())).done
    assert any("shown with down, up at the default alone" in one for one in done), done


@pytest.mark.spice
@pytest.mark.osdi
def test_a_bound_that_is_not_finite_ends_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.va"
    file.write_text(model("real x, h, told;", STEPPED.format(f"x = min(x + V(p, n)*h, pow(10, 400));\n{OUT}")))
    assert main(["lint", str(file), "--fix", str(tmp_path / "out.va")]) == 1  # not 70, which is a bug
    assert "does not run in ngspice" in capsys.readouterr().out


@pytest.mark.parametrize(("branch", "sign"), [("w, gnd", ""), ("gnd, w", "-"), ("w", "")])
def test_a_state_against_a_ground_of_the_module_is_read(branch: str, sign: str) -> None:
    body = f"V({branch}) <+ {sign}(0.3 + idt(1e6*V(p, n), 0));\nI(p, n) <+ 1e-3*V(w, gnd)*V(p, n);"
    read = current(model("electrical w, gnd; ground gnd;", body))
    flux = (1.0 - np.cos(2.0 * np.pi * TIMES / 2e-6)) * 2e-6 / (2.0 * np.pi)
    right = 1e-3 * (0.3 + 1e6 * flux) * VOLTS
    assert np.abs(read - right).max() < NEAR * np.abs(right).max()


def test_a_port_that_is_driven_against_a_ground_is_not_read() -> None:
    with pytest.raises(Unreadable, match="between inner nodes"):
        current(model("electrical gnd; ground gnd;", "V(n, gnd) <+ V(p);"))


FLUX = (1.0 - np.cos(2.0 * np.pi * TIMES / 2e-6)) * 1e6 * 2e-6 / (2.0 * np.pi)
SUMS = {
    "a constant and an integral": ("V(w, gnd) <+ 0.3; V(w, gnd) <+ idt(1e6*V(p, n), 0);", 0.3 + FLUX),
    "an integral and a constant, the node the other way": (
        "V(w, gnd) <+ idt(1e6*V(p, n), 0.1); V(gnd, w) <+ -0.3;", 0.4 + FLUX
    ),
    "with and without the ground": ("V(w) <+ 0.3; V(w, gnd) <+ idt(1e6*V(p, n), 0);", 0.3 + FLUX),
    "some under a condition": (
        "V(w) <+ 0.3;\nif (V(p, n) > 0) V(w) <+ V(p, n);\nelse V(w) <+ -2*V(p, n);\nif (V(p, n) > 0.5) V(w) <+ 1;",
        0.3 + np.where(VOLTS > 0.0, VOLTS, -2.0 * VOLTS) + (VOLTS > 0.5),
    ),
    "in a loop": ("for (k = 0; k < 3; k = k + 1) V(w) <+ k*V(p, n);", 3.0 * VOLTS),
    "of integrals alone": ("V(w) <+ idt(1e6*V(p, n), 0.1); V(w) <+ idt(2e6*V(p, n), 0.2);", 0.3 + 3.0 * FLUX),
}  # fmt: skip


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("early", [False, True])
def test_the_potentials_of_a_node_add_up_in_each_step(name: str, early: bool) -> None:
    body, w = SUMS[name]
    out = "I(p, n) <+ 1e-3*V(w, gnd)*V(p, n);"
    text = model("electrical w, gnd; ground gnd;\ninteger k;", f"{out}\n{body}" if early else f"{body}\n{out}")
    right = 1e-3 * w * VOLTS
    if early and ("if " in body or "for " in body):
        with pytest.raises(Unreadable, match="'w' is read before its contributions, some under conditions"):
            current(text)
    else:
        off = np.abs(current(text) - right)
        assert np.quantile(off, 0.999) < NEAR * np.abs(right).max()  # but where a condition's edge meets a step


CURRENTS = {
    "two currents": ("I(p, n) <+ 1e-3*V(p, n); I(p, n) <+ 2e-3*V(p, n);", 3e-3 * VOLTS),
    "two currents, one the other way": ("I(p, n) <+ 1e-3*V(p, n); I(n, p) <+ 3e-3*V(p, n);", -2e-3 * VOLTS),
    "currents of two branches": ("I(p, n) <+ 1e-3*V(p, n); I(p, gnd) <+ 2e-3*V(p, n);", 3e-3 * VOLTS),
    "potentials both ways": ("V(p, n) <+ 3e3*I(p, n); V(n, p) <+ 1e3*I(p, n);", VOLTS / 2e3),
    "a potential and a reversed current": ("V(p, n) <+ 3e3*I(p, n); V(p, n) <+ 1e3*I(n, p);", VOLTS / 2e3),
    "a switch branch": (
        "if (V(p, n) > 0) V(p, n) <+ 2e3*I(p, n); else I(p, n) <+ 1e-3*V(p, n);",
        np.where(VOLTS > 0.0, VOLTS / 2e3, 1e-3 * VOLTS),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CURRENTS)
def test_contributions_between_the_terminals_add_up(name: str) -> None:
    body, right = CURRENTS[name]
    read = current(model("electrical gnd; ground gnd;", body))
    assert np.abs(read - right).max() < 1e-6 * np.abs(right).max()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("V(w) <+ 0.3; x = V(w); V(w) <+ V(p, n);", "'w' is read between its contributions"),
        ("V(w) <+ 0.3; V(w) <+ 0.5*V(w);", "'w' is read between its contributions"),
        ("if (V(p, n) > 0.5) V(w) <+ 0.3;", "in some step nothing contributes to node 'w'"),
        ("V(b) <+ 0.3; V(w) <+ V(p, n);", "potentials of two branches between the same nodes"),
        ("V(w) <+ 0.3; I(w) <+ V(p, n);", "a potential and a flow are contributed to a branch in one step"),
        ("V(p, n) <+ 1e3*I(p, n); I(p, n) <+ 1e-3*V(p, n);", "a potential and a flow are contributed to a branch"),
        ("V(p, n) <+ 1e3*I(p, n); I(p, gnd) <+ 1e-3*V(p, n);", "beside the branch whose current is read"),
        ("V(p, n) <+ 1e3*I(r);", "several branches between the terminals"),
        ("V(p, n) <+ 0.3;", "a voltage between the terminals whatever the current"),
        ("V(p) <+ 0.3; x = V(p);", "of a terminal against ground"),
    ],
)
def test_contributions_that_have_no_sum_are_not_read(body: str, why: str) -> None:
    declared = "electrical w, gnd; ground gnd;\nbranch (w) b;\nbranch (p, n) r;\nreal x;"
    with pytest.raises(Unreadable, match=why):
        current(model(declared, f"{body}\n" + ("" if "V(p, n) <+" in body else "I(p, n) <+ 1e-3*V(p, n);")))


def test_contributions_add_up_in_a_subcircuit_too() -> None:
    body = "V(w) <+ 0.3; V(w) <+ 0.1 + idt(1e6*V(p, n), 0);\nI(p, n) <+ 1e-3*V(w); I(n, p) <+ 2e-3*V(p, n);"
    read = va_rules.read(model("electrical w;", body), Path())
    written = va_behavioural.subcircuit(read, read.modules[0])[0].splitlines()
    (node,) = [line for line in written if line.startswith("B") and " w 0 V=" in line]
    assert "V=(0.3) + " in node.replace("V=0.3", "V=(0.3)")
    assert not any(line.startswith("Cw ") for line in written)  # the integral has a node of its own
    (through,) = [line for line in written if line.startswith("B") and " p n I=" in line]
    assert " + -(" in through
