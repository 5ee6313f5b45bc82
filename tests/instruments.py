"""Files as instruments and programs write them, made from one simulated measurement with a seed.

Each entry of `MAKERS` writes one file, faithful to its format, with the digits that the instrument has, and says how a
recipe reads it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cosim.packages import process_unchanged

SEED, N = 1009, 101


@dataclass(frozen=True)
class Sweep:
    """Time (s), voltage (V) and current (A) of a sweep up and down over an access transistor; (n,) each."""

    time: np.ndarray
    voltage: np.ndarray
    current: np.ndarray


def sweep(seed: int = SEED, n: int = N) -> Sweep:
    """A seeded sweep with read noise, rounded to the digits that instruments write."""
    rng = np.random.default_rng(seed)
    up = np.linspace(-0.4, 1.6, n // 2 + 1)
    voltage = np.round(np.concatenate([up, up[-2::-1]])[:n], 4)
    # g_on 4 mS, v_sat 2 V, v_c 2.5 V of the access transistor, written out: a file needs no model of cosim's
    current = 4e-3 * voltage * (1.0 - voltage / 4.0) / (1.0 + np.maximum(voltage, 0.0) / 2.5)
    current = current + 2e-6 * rng.standard_normal(voltage.size)
    return Sweep(np.round(1e-3 * np.arange(n), 6), voltage, np.array([float(f"{i:.6e}") for i in current]))


@dataclass(frozen=True)
class Made:
    """How a file is read: its name, the ``columns`` of a recipe, further keys of ``[data]``, what the report says.

    Args:
        file: name.
        write: writes it.
        columns: of a recipe, for time, voltage and current.
        title: of the format in the report; "" for text.
        more: further keys of ``[data]``.
        rtol: relative tolerance of what is read: 0 where every digit is written.
        needs: package that the reader needs.
    """

    file: str
    write: Callable[[Path, Sweep], None]
    columns: Mapping[str, Mapping[str, Any]]
    title: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)
    rtol: float = 0.0
    needs: str = ""


def _named(time: str, voltage: str, current: str, /, **units: str) -> dict[str, dict[str, Any]]:
    names = {"time": time, "voltage": voltage, "current": current}
    return {q: {"name": name, **({"unit": units[q]} if q in units else {})} for q, name in names.items()}


def _lines(s: Sweep, form: Callable[[int, float, float, float], str]) -> str:
    return "".join(
        form(k, float(t), float(v), float(i)) + "\n"
        for k, (t, v, i) in enumerate(zip(s.time, s.voltage, s.current, strict=True))
    )


def csv(path: Path, s: Sweep) -> None:
    path.write_text("t (s),V (V),I (A)\n" + _lines(s, lambda k, t, v, i: f"{t!r},{v!r},{i!r}"), encoding="utf-8-sig")


def tsv_micro(path: Path, s: Sweep) -> None:
    head = "# chip 7\nt (ms)\tV (mV)\tI (µA)\n"  # micro sign; the Greek letter in `semicolons`
    rows = _lines(s, lambda k, t, v, i: f"{1e3 * t:.12g}\t{1e3 * v:.12g}\t{1e6 * i:.12g}")
    path.write_text(head + rows + "\nEnd of data\n", encoding="utf-8")


def semicolons(path: Path, s: Sweep) -> None:
    rows = _lines(s, lambda k, t, v, i: f'"{t!r}";"{v!r}";"{1e6 * i:.12g}"'.replace(".", ","))
    path.write_text('"Zeit [s]";"Spannung [V]";"Strom [μA]"\n' + rows, encoding="utf-8")


def suffixes(path: Path, s: Sweep) -> None:
    rows = _lines(
        s, lambda k, t, v, i: f"2026-11-29 12:00:{k % 60:02d},{1e3 * t:.12g} ms,{1e3 * v:.12g}m,{1e6 * i:.12g}u"
    )
    path.write_text("Timestamp,t,V (V),I (A)\n" + rows)


def _easyexpert(s: Sweep, tag: Callable[[str], str], between: str) -> str:
    def row(*cells: object) -> str:
        return between.join(map(str, cells)) + "\n"

    head = [
        row("SetupTitle", "I/V Sweep"),
        row("PrimitiveTest", "I/V Sweep"),
        row("TestParameter", "Channel.UnitType", "SMU", "SMU"),
        row("TestParameter", "Channel.VName", "V1", "V2"),
        row("TestParameter", "Measurement.Primary.Compliance", 0.01),
        row("MetaData", "TestRecord.RecordTime", "11/29/2026 12:00:00"),
        row("AnalysisSetup", "Analysis.Setup.Vector.Graph.XAxis.Name", "V1"),
        row("Dimension1", s.time.size, s.time.size, s.time.size),
        row("Dimension2", 1, 1, 1),
        row(tag("DataName"), "Time", "V1", "I1"),
        row(tag("DataUnit"), "s", "V", "A"),
    ]
    return "".join(head) + _lines(s, lambda k, t, v, i: between.join((tag("DataValue"), repr(t), repr(v), repr(i))))


def easyexpert(path: Path, s: Sweep) -> None:
    path.write_text(_easyexpert(s, lambda tag: tag, ", "))


def easyexpert_text(path: Path, s: Sweep) -> None:
    path.write_text(_easyexpert(s, lambda tag: f"Data {tag[4:]}", "\t"))


def keithley_2450(path: Path, s: Sweep) -> None:
    head = (
        "Index,Reading,Unit,Range Digits,Disp Digits,Origin,Value,Unit,Digits,Output,Date,Time,Fractional Seconds,"
        "Relative Time\n"
    )
    path.write_text(
        head
        + _lines(
            s,
            lambda k, t, v, i: f"{k + 1},{i!r},Amp DC,7,5,Origin 1,{v!r},Volt DC,7,T,11/29/2026,12:00:00,{t!r},{t!r}",
        )
    )


def keithley_tsp(path: Path, s: Sweep) -> None:
    rows = _lines(s, lambda k, t, v, i: f"{v!r},{i!r},{t!r}")
    path.write_text("Smu1.V[1][1],Smu1.I[1][1],Smu1.Time[1][1]\n" + rows)


def keithley_2400(path: Path, s: Sweep) -> None:
    cells = [
        f"{v:+.6E},{i:+.6E},+9.910000E+37,{t:+.6E},+2.150800E+04"
        for t, v, i in zip(s.time, s.voltage, s.current, strict=True)
    ]
    path.write_text(",".join(cells) + "\n")


def tektronix_tds(path: Path, s: Sweep) -> None:
    """One channel: the current over a shunt of 1 Ohm, so that volts are amperes."""
    settings = [
        ("Record Length", f"{s.time.size:.6e}"), ("Sample Interval", "1e-3"), ("Trigger Point", "0"), ("", ""),
        ("", ""), ("", ""), ("Source", "CH1"), ("Vertical Units", "V"), ("Vertical Scale", "5e-1"), ("", ""),
        ("Horizontal Units", "s"), ("Horizontal Scale", "1e-3"), ("Pt Fmt", "Y"), ("Yzero", "0"), ("Probe Atten", "1"),
        ("Model Number", "TDS2024"), ("Serial Number", "C000000"), ("Firmware Version", "FV:v22.11"),
    ]  # fmt: skip

    def row(k: int, t: float, v: float, i: float) -> str:
        name, value = settings[k] if k < len(settings) else ("", "")
        return f"{name},{value},,{t: 020.12f},{v: .5f},"

    path.write_text(_lines(s, row))


def tektronix_mso(path: Path, s: Sweep) -> None:
    head = (
        "Model,MSO4054\nFirmware Version,2.68\n\nPoint Format,Y,Y,\nHorizontal Units,s,,\nHorizontal Scale,4e-05,,\n"
        "Sample Interval,1e-3,,\nRecord Length,101,,\nProbe Attenuation,1,1,\nVertical Units,V,A,\n"
        "Vertical Offset,0,0,\nVertical Scale,0.5,1e-3,\n\nLabel,,,\nTIME,CH1,CH2\n"
    )
    path.write_text(head + _lines(s, lambda k, t, v, i: f"{t!r},{v!r},{i!r}"))


def lecroy(path: Path, s: Sweep) -> None:
    head = (
        f"LECROYHDO4104,30152,Waveform\nSegments,1,SegmentSize,{s.time.size}\nSegment,TrigTime,TimeSinceSegment1\n"
        "#1,29-Nov-2026 12:00:00,0                 \nTime,Ampl1,Ampl2\n"
    )
    path.write_text(head + _lines(s, lambda k, t, v, i: f"{t!r},{v!r},{i!r}"))


def rigol(path: Path, s: Sweep) -> None:
    head = "X,CH1,CH2,Start,Increment,\nSequence,Volt,Volt,0.000000e+00,1.000000e-03,\n"
    path.write_text(head + _lines(s, lambda k, t, v, i: f"{k},{v!r},{i!r},,"))


def rigol_mso(path: Path, s: Sweep) -> None:
    head = "CH1V,CH2V,t0 =0.0, tInc = 0.001,\n"
    path.write_text(head + _lines(s, lambda k, t, v, i: f"{v!r},{i!r},,"))


def keysight_scope(path: Path, s: Sweep) -> None:
    head = "x-axis,1,2\nsecond,Volt,Volt\n"
    path.write_text(head + _lines(s, lambda k, t, v, i: f"{t:+.6E},{v:+.6E},{i:+.6E}"))


def xlsx(path: Path, s: Sweep) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(str(path)) as book:
        book.add_worksheet("Notes").write_row(0, 0, ["measured by", "J. Doe"])
        sheet = book.add_worksheet("Sweep")
        sheet.write(0, 0, "chip 7, cell 3")
        sheet.write_row(2, 1, ["t (s)", "V (V)", "I (mA)", "Remark"])
        for k, (t, v, i) in enumerate(zip(s.time, s.voltage, s.current, strict=True), 3):
            sheet.write_row(k, 1, [t, v, float(f"{1e3 * i:.12g}"), "ok"])


def _keithley_4200(add: Callable[[str], Callable[[int, int, Any], None]], s: Sweep) -> None:
    data = add("Data")
    for column, (title, values) in enumerate({"DrainI": s.current, "DrainV": s.voltage, "Time": s.time}.items()):
        data(0, column, title)
        for k, value in enumerate(values, 1):
            data(k, column, float(value))
    add("Calc")(0, 0, "")
    settings = add("Settings")
    table = [
        ["Test Name", "vds-id#1@1"], ["Mode", "Sweeping"], ["Speed", "Normal"], ["Device Terminal", "Drain", "Gate"],
        ["Instrument", "SMU1", "SMU2"], ["Forcing Function", "Voltage Sweep", "Common"], ["Start/Level", "-0.4", "0"],
        ["Compliance", "0.1", "N/A"],
    ]  # fmt: skip
    for k, row in enumerate(table):
        for column, cell in enumerate(row):
            settings(k, column, cell)


def keithley_4200_xls(path: Path, s: Sweep) -> None:
    import xlwt

    book = xlwt.Workbook()
    _keithley_4200(lambda name: book.add_sheet(name).write, s)
    book.save(str(path))


def keithley_4200_xlsx(path: Path, s: Sweep) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(str(path)) as book:
        _keithley_4200(lambda name: book.add_worksheet(name).write, s)


def tdms(path: Path, s: Sweep) -> None:
    import nptdms

    wave = {"wf_start_offset": 0.0, "wf_increment": 1e-3, "wf_samples": s.time.size}
    with nptdms.TdmsWriter(str(path)) as file:
        file.write_segment(
            [
                nptdms.RootObject({"Operator": "J. Doe"}),
                nptdms.GroupObject("Sweep"),
                nptdms.ChannelObject("Sweep", "Voltage", s.voltage, {"unit_string": "V", **wave}),
                nptdms.ChannelObject("Sweep", "Current", 1e3 * s.current, {"unit_string": "mA", **wave}),
            ]
        )


def mat(path: Path, s: Sweep) -> None:
    with process_unchanged():
        import scipy.io

    scipy.io.savemat(
        path,
        {"t": s.time[:, None], "V": s.voltage[:, None], "I": s.current[:, None], "chip": "A7", "v_read": 0.1},
        do_compression=True,
    )


def mat_struct(path: Path, s: Sweep) -> None:
    with process_unchanged():
        import scipy.io

    scipy.io.savemat(path, {"sweep": {"t": s.time, "V": s.voltage, "I": s.current, "note": "ok"}, "other": np.eye(3)})


_VECTORS = (("time", "time"), ("V(a)", "voltage"), ("I(R1)", "device_current"))


def _raw_head(s: Sweep, *, flags: str, kind: str, points: int, end: str = "\n", command: str = "") -> str:
    listed = end.join(f"\t{k}\t{name}\t{what}" for k, (name, what) in enumerate(_VECTORS))
    lines = ["Title: * a sweep", "Date: Sun Nov 29 12:00:00 2026", "Plotname: Transient Analysis", f"Flags: {flags}"]
    lines += [f"No. Variables: {len(_VECTORS)}", f"No. Points: {points:>8}"]
    lines += ["Offset: 0.0000000000000000e+000", f"Command: {command}"] if command else []
    return end.join([*lines, "Variables:", listed, f"{kind}:", ""])


LTSPICE = "Linear Technology Corporation LTspice XVII"


def ngspice_raw(path: Path, s: Sweep) -> None:
    head = _raw_head(s, flags="real", kind="Binary", points=s.time.size)
    path.write_bytes(head.encode() + np.column_stack([s.time, s.voltage, s.current]).tobytes())


def ngspice_ascii(path: Path, s: Sweep) -> None:
    rows = _lines(s, lambda k, t, v, i: f" {k}\t{t:.16e}\n\t{v:.16e}\n\t{i:.16e}\n")
    path.write_text(_raw_head(s, flags="real", kind="Values", points=s.time.size) + rows)


def ltspice(path: Path, s: Sweep, *, fast: bool = False, double: bool = False, steps: int = 1) -> None:
    flags = "real forward" + " fastaccess" * fast + " double" * double + " stepped" * (steps > 1)
    head = _raw_head(s, flags=flags, kind="Binary", points=s.time.size * steps, command=LTSPICE)
    time = s.time.copy()
    time[5:20:3] *= -1.0  # points that its compression marks
    other = "<f8" if double else "<f4"
    columns = [np.tile(column, steps) for column in (time, s.voltage, s.current)]
    if fast:
        body = columns[0].astype("<f8").tobytes() + b"".join(column.astype(other).tobytes() for column in columns[1:])
    else:
        body = b"".join(
            struct.pack("<d", t) + np.array([v, i], dtype=other).tobytes() for t, v, i in zip(*columns, strict=True)
        )
    path.write_bytes(head.encode("utf-16-le") + body)


def ltspice_ascii(path: Path, s: Sweep) -> None:
    rows = _lines(s, lambda k, t, v, i: f"{k}\t\t{t:.15e}\n\t{v:.15e}\n\t{i:.15e}")
    head = _raw_head(s, flags="real forward", kind="Values", points=s.time.size, command=LTSPICE)
    path.write_bytes((head + rows).encode("utf-16-le"))


def ltspice_ac(path: Path, gain: np.ndarray, frequency: np.ndarray) -> None:
    """A complex gain (n,) over frequency (n,) Hz."""
    head = (
        "Title: * a filter\nDate: today\nPlotname: AC Analysis\nFlags: complex forward log\nNo. Variables: 2\n"
        f"No. Points: {gain.size}\nOffset: 0.0\nCommand: {LTSPICE}\nVariables:\n"
        "\t0\tfrequency\tfrequency\n\t1\tV(out)\tvoltage\nBinary:\n"
    )
    body = np.column_stack([frequency.astype(complex), gain]).astype("<c16").tobytes()
    path.write_bytes(head.encode("utf-16-le") + body)


_RAW = _named("time", "V(a)", "I(R1)")
_SINGLE = 6e-8  # half a unit of the last place of a float32

MAKERS: Mapping[str, Made] = {
    "csv": Made("iv.csv", csv, _named("t", "V", "I")),
    "tsv, micro sign, footer": Made("iv.tsv", tsv_micro, _named("t", "V", "I"), rtol=1e-12),
    "semicolons, quoted decimal commas": Made("iv.csv", semicolons, _named("Zeit", "Spannung", "Strom"), rtol=1e-12),
    "timestamps and SI suffixes": Made("iv.csv", suffixes, _named("t", "V", "I"), rtol=1e-12),
    "EasyEXPERT": Made("iv.csv", easyexpert, _named("Time", "V1", "I1"), "Keysight EasyEXPERT"),
    "EasyEXPERT text": Made("iv.txt", easyexpert_text, _named("Time", "V1", "I1"), "Keysight EasyEXPERT"),
    "Keithley 2450": Made("defbuffer1.csv", keithley_2450, _named("Relative Time", "Value", "Reading"), "Keithley SMU"),
    "Keithley 2600": Made(
        "tsp.csv", keithley_tsp, _named("Smu1.Time[1][1]", "Smu1.V[1][1]", "Smu1.I[1][1]"), "Keithley SMU"
    ),
    "Keithley 2400": Made(
        "trace.txt", keithley_2400, _named("Time", "Voltage", "Current"), "Keithley SMU", rtol=1e-15
    ),
    "Tektronix MSO": Made(
        "tek.csv", tektronix_mso, _named("TIME", "CH1", "CH2"), "Tektronix oscilloscope"
    ),
    "LeCroy": Made("C1.csv", lecroy, _named("Time", "Ampl1", "Ampl2", current="A"), "LeCroy oscilloscope"),
    "Rigol": Made("rigol.csv", rigol, _named("Time", "CH1", "CH2", current="A"), "Rigol oscilloscope", rtol=1e-15),
    "Rigol MSO": Made(
        "rigol.csv", rigol_mso, _named("Time", "CH1", "CH2", current="A"), "Rigol oscilloscope", rtol=1e-15
    ),
    "Keysight oscilloscope": Made(
        "scope.csv", keysight_scope, _named("Time", "1", "2", current="A"), "Keysight oscilloscope"
    ),
    "Excel": Made("iv.xlsx", xlsx, _named("t", "V", "I"), "Excel", rtol=1e-12, needs="python_calamine"),
    "Keithley 4200 xls": Made(
        "vds-id.xls", keithley_4200_xls, _named("Time", "DrainV", "DrainI"), "Keithley 4200", needs="python_calamine"
    ),
    "Keithley 4200 xlsx": Made(
        "vds-id.xlsx", keithley_4200_xlsx, _named("Time", "DrainV", "DrainI"), "Keithley 4200", needs="python_calamine"
    ),
    "TDMS": Made("iv.tdms", tdms, _named("Time", "Voltage", "Current"), "LabVIEW TDMS", rtol=1e-12, needs="nptdms"),
    "MATLAB": Made("iv.mat", mat, _named("t", "V", "I", time="s", voltage="V", current="A"), "MATLAB"),
    "MATLAB structure": Made(
        "iv.mat", mat_struct, _named("t", "V", "I", time="s", voltage="V", current="A"), "MATLAB"
    ),
    "ngspice": Made("iv.raw", ngspice_raw, _RAW, "simulator's raw file"),
    "ngspice ASCII": Made("iv.raw", ngspice_ascii, _RAW, "simulator's raw file"),
    "LTspice": Made("iv.raw", ltspice, _RAW, "simulator's raw file", rtol=_SINGLE),
    "LTspice fast access": Made(
        "iv.raw", lambda path, s: ltspice(path, s, fast=True), _RAW, "simulator's raw file", rtol=_SINGLE
    ),
    "LTspice double": Made("iv.raw", lambda path, s: ltspice(path, s, double=True), _RAW, "simulator's raw file"),
    "LTspice stepped": Made(
        "iv.raw",
        lambda path, s: ltspice(path, s, steps=3),
        _RAW,
        "simulator's raw file",
        {"record": 2},
        _SINGLE,
    ),
    "LTspice ASCII": Made("iv.raw", ltspice_ascii, _RAW, "simulator's raw file", rtol=1e-15),
}  # fmt: skip
