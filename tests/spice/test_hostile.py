"""Netlists that would start a program, write a file or read one: refused with their line, and harmless even unchecked.

Every case of the corpus was seen to act in ngspice, or is a neighbour of one that did. The second half hands the same
text to a confined worker as it is: there the kernel has to hold it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cosim.bench.testbench import Testbench
from cosim.engines.library import find_libngspice, find_ngspice
from cosim.engines.simulator import Deck, Outcome, Simulator
from cosim.engines.worker import sandbox
from cosim.engines.worker.pool import Pool
from cosim.errors import InputError, NetlistError, NetlistRefused
from cosim.language import netlist

pytestmark = pytest.mark.spice

BASE = "R1 a 0 1k\nV1 a 0 1\n.tran 1n 100n\n"
BLOCK = ".control\nshell touch CANARY\n.endc\n"
DIGITAL = "A2 [a] [d1] ad\nA3 [a] [ck] ad\n.model ad adc_bridge\nA1 [d1] ck null [d2] dp\n"

# Name: text after the title (or a whole text that brings its own), and the line that the refusal names.
CORPUS: dict[str, tuple[str, int]] = {
    "control": (BASE + BLOCK, 5),
    "control indented": (BASE + "  .control\n  shell touch CANARY\n  .endc\n", 5),
    "control upper case": (BASE + ".CONTROL\nSHELL touch CANARY\n.ENDC\n", 5),
    "control with a suffix": (BASE + ".controlled\nshell touch CANARY\n.endc\n", 5),
    "control without end": (BASE + ".control\nshell touch CANARY\n", 5),
    "control after .end": (BASE + ".end\n" + BLOCK, 6),
    "control in .if": (BASE + ".if (1)\n" + BLOCK + ".endif\n", 6),
    "control in a subcircuit": (BASE + ".subckt q a\n" + BLOCK + ".ends\n", 6),
    "control under .prot": (BASE + ".prot\n" + BLOCK + ".unprot\n", 6),
    "control behind continuation": (BASE + "+\n" + BLOCK, 6),
    "system command": (BASE + ".control\nsystem touch CANARY\n.endc\n", 5),
    "pre_ command": (BASE + ".control\npre_shell touch CANARY\n.endc\n", 5),
    "wrdata": (BASE + ".control\nrun\nwrdata CANARY v(a)\n.endc\n", 5),
    "write": (BASE + ".control\nrun\nwrite CANARY v(a)\n.endc\n", 5),
    "redirected echo": (BASE + ".control\necho x > CANARY\n.endc\n", 5),
    "backtick in a block": (BASE + ".control\necho `touch CANARY`\n.endc\n", 5),
    "source": (BASE + ".control\nsource CANARY\n.endc\n", 5),
    "comment command": (BASE + "*#shell touch CANARY\n", 5),
    "comment command indented": (BASE + "   *#shell touch CANARY\n", 5),
    "comment command among continuations": (BASE + "R2 a 0\n*#shell touch CANARY\n+ 1k\n", 6),
    "print redirected": (BASE + ".print tran v(a) > CANARY\n", 5),
    "plot redirected": (BASE + ".plot tran v(a) > CANARY\n", 5),
    "save redirected": (BASE + ".save v(a) > CANARY\n", 5),
    "backtick in a card": (BASE + ".print tran v(a) `touch CANARY`\n", 5),
    "backtick in an element": (BASE + "R2 a `touch CANARY` 1k\n", 5),
    "exec card": (BASE + ".exec touch CANARY\n", 5),
    "include of a command": (BASE + ".include `touch CANARY`\n", 5),
    "alter card": (BASE + ".alter\n" + BLOCK, 6),
    "option with a file": (BASE + '.options measoutfile="CANARY"\n.meas tran x max v(a)\n', 5),
    "option rawfile": (BASE + ".options rawfile=CANARY\n", 5),
    "option ngdebug": (BASE + ".options ngdebug\n", 5),
    "option of the front end": (BASE + ".option unixcom\n", 5),
    "option sourcepath": (BASE + ".opt sourcepath=( / )\n", 5),
    "d_process": (BASE + DIGITAL + '.model dp d_process (process_file="EVIL.sh")\n', 9),
    "d_process upper case": (BASE + DIGITAL + '.MODEL dp D_PROCESS(process_file="EVIL.sh")\n', 9),
    "d_process continued": (BASE + DIGITAL + '.model dp\n+ d_process\n+ (process_file="EVIL.sh")\n', 9),
    "d_process behind a string": (
        BASE + '.param s="d_process"\n' + DIGITAL + '.model dp {s} (process_file="EVIL.sh")\n', 10,
    ),
    "d_cosim": (BASE + DIGITAL.replace("ck null [d2]", "[d2] [d3]") + '.model dp d_cosim (simulation="EVIL.so")\n', 9),
    "d_process as a name of two words": (
        BASE + DIGITAL.replace("dp", "d_process,d_process")
        + '.model d_process,d_process gain (process_file "EVIL.sh")\n', 8,
    ),
    "d_process as a name with =": (BASE + '.model d_process=d_process gain (process_file "EVIL.sh")\n', 5),
    "d_process as a name with a bracket": (BASE + '.model d_process(d_process process_file "EVIL.sh")\n', 5),
    "d_process as a name of two words, type r": (BASE + '.model d_process,d_process r (process_file "EVIL.sh")\n', 5),
    "d_process without a type": (BASE + '.model d_process,d_process process_file "EVIL.sh"\n', 5),
    "type with a comma": (BASE + '.model dp gain,d_process (process_file "EVIL.sh")\n', 5),
    "d_cosim as a name of two words": (
        BASE + DIGITAL.replace("ck null [d2] dp", "[d2] [d3] d_cosim,d_cosim")
        + '.model d_cosim,d_cosim gain (simulation "EVIL.so")\n', 8,
    ),
    "program without =": (BASE + '.model dp gain (process_file "EVIL.sh")\n', 5),
    "library without =": (BASE + '.model dp later_model (simulation "EVIL.so")\n', 5),
    "two files": (BASE + '.model fs filesource (file="a.inc" file="/etc/passwd")\n', 5),
    "two files, one without =": (BASE + '.model fs filesource (file="a.inc" file "/etc/passwd")\n', 5),
    "two files, one in front": (BASE + '.model fs filesource (file "/etc/passwd" file="a.inc")\n', 5),
    "a file by a parameter's text": (
        BASE + '.param s="false file /etc/passwd"\n.model fs filesource (file="a.inc" amplstep=s)\n', 6,
    ),
    "a file by an expression": (BASE + '.model fs filesource (file="a.inc" amplstep={s})\n', 5),
    "pwl, file": (BASE + 'V2 b 0 pwl,file "/etc/passwd"\n', 5),
    "file = with a blank": (BASE + 'V2 b 0 pwl (file) = "/etc/passwd"\n', 5),
    "unknown model with a program": (BASE + '.model m later_model (process_file="EVIL.sh")\n', 5),
    "cider output": (BASE + 'D1 a 0 m\n.model m numd level=1\n+ output rootfile="CANARY"\n', 6),
    "file source outside": (BASE + 'A9 %vd([x 0]) fs\n.model fs filesource (file="/etc/passwd")\n', 6),
    "file source through a link": (BASE + 'A9 %vd([x 0]) fs\n.model fs filesource (file="link.txt")\n', 6),
    "digital source outside": (BASE + 'A9 [x] ds\n.model ds d_source (input_file="/etc/passwd")\n', 6),
    "digital state outside": (BASE + '.model ds d_state (state_file="/etc/passwd")\n', 5),
    "touchstone outside": (BASE + '.model ds xfer (file="/etc/passwd")\n', 5),
    "table outside": (BASE + '.model ds table2d (file="/etc/passwd")\n', 5),
    "pwl file": (BASE + 'V2 b 0 pwl file="/etc/passwd"\n', 5),
    "form feed": (BASE + "R2 a 0 1\f.control\fshell touch CANARY\f.endc\n", 5),
    "vertical tab": (BASE + "R2 a 0 1\v.control\vshell touch CANARY\v.endc\n", 5),
    "carriage return": (BASE + "R2 a 0 1\r.control\rshell touch CANARY\r.endc\n", 5),
    "file separator": (BASE + "R2 a 0 1\x1c.control\x1cshell touch CANARY\x1c.endc\n", 5),
    "next line": (BASE + "R2 a 0 1\x85.control\x85shell touch CANARY\x85.endc\n", 5),
    "line separator": (BASE + "R2 a 0 1\u2028.control\u2028shell touch CANARY\u2028.endc\n", 5),
    "null": (BASE + "R2 a 0 1\x00.control\n", 5),
    "double backslash": (BASE + ".cont\\\\\nrol\nshell touch CANARY\n.endc\n", 5),
    "joined card": (BASE + ".cont\n+rol\nshell touch CANARY\n.endc\n", 5),
    "include outside": (BASE + ".include /etc/passwd\n", 5),
    "include upwards": (BASE + '.include "../outside.inc"\n', 5),
    "include through a link": (BASE + ".inc link.txt\n", 5),
    "library outside": (BASE + ".lib /etc/passwd tt\n", 5),
    "bang": (BASE + "!touch CANARY\n", 5),
}  # fmt: skip
TITLES = {
    "title runs": "*#shell touch CANARY\n" + BASE,
    "title makes a script": "*ng_script\nshell touch CANARY\n",
    "title makes a script, spaced": "  * ng_script x\n*#shell touch CANARY\n",
}
INCLUDED = {
    "include": (".include evil.inc\n", "evil.inc", "* evil\n" + BLOCK, 2),
    "include upper case": (".INCLUDE 'evil.inc'\n", "evil.inc", "* evil\n.CONTROL\nshell touch CANARY\n.ENDC\n", 2),
    "library section": (".lib evil.lib tt\n", "evil.lib", "* evil\n.lib tt\n" + BLOCK + ".endl tt\n", 3),
    "first line of an include": (".include evil.inc\n", "evil.inc", BLOCK, 1),
    "comment command": (".include evil.inc\n", "evil.inc", "*#shell touch CANARY\n", 1),
    "nested": (".include a.inc\n", "evil.inc", "* evil\n\n" + BLOCK, 3),
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder with an evil script, a library that acts when it is loaded, a link that leads out, and a neighbour."""
    canary = tmp_path / "canary"
    home = tmp_path / "home"
    home.mkdir()
    (home / "evil.sh").write_text(f"#!/bin/sh\ntouch {canary}\n")
    (home / "evil.sh").chmod(0o755)
    if shutil.which("cc"):
        source = (
            "#include <stdlib.h>\n__attribute__((constructor)) static void go(void)"
            f' {{ if (system("touch {canary}")) exit(1); }}\n'
        )
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-xc", "-", "-o", home / "evil.so"], input=source, text=True, check=True
        )
    (tmp_path / "outside.inc").write_text("R9 a 0 1k\n")
    (home / "a.inc").write_text(".include evil.inc\n")
    (home / "link.txt").symlink_to("/etc/passwd")
    return home


def fill(text: str, house: Path) -> str:
    return text.replace("CANARY", str(house.parent / "canary")).replace("EVIL", str(house / "evil"))


def acted(house: Path) -> bool:
    """Whether a canary appeared, with time for a program that was started without waiting."""
    time.sleep(0.05)
    return (house.parent / "canary").exists()


@pytest.mark.parametrize("name", CORPUS)
def test_refused_with_its_line(house: Path, name: str, pyspice: Simulator) -> None:
    body, line = CORPUS[name]
    text = "hostile\n" + fill(body, house)
    source = house / "deck.cir"
    with pytest.raises(InputError) as caught:
        netlist.check(netlist.read_text(text, source=source))
    assert caught.value.where is not None
    assert (caught.value.where.file, caught.value.where.line) == (source, line)
    assert caught.value.remedy
    result = pyspice.run(Deck(text, source=source))
    assert result.outcome is Outcome.REFUSED
    assert f"deck.cir:{line}: " in result.reason
    assert not acted(house)


@pytest.mark.parametrize("name", TITLES)
def test_a_title_that_acts_is_refused(house: Path, name: str) -> None:
    with pytest.raises(NetlistRefused) as caught:
        netlist.check(netlist.read_text(fill(TITLES[name], house)))
    assert caught.value.where is not None
    assert caught.value.where.line == 1


@pytest.mark.parametrize("name", INCLUDED)
def test_refused_within_includes(house: Path, name: str) -> None:
    card, file, content, line = INCLUDED[name]
    (house / file).write_text(fill(content, house))
    with pytest.raises(NetlistRefused) as caught:
        netlist.check(netlist.read_text("hostile\n" + BASE + card, roots=(house,)))
    assert caught.value.where is not None
    assert (caught.value.where.file, caught.value.where.line) == (house / file, line)


def test_options_and_vectors_of_a_deck_are_checked(pyspice: Simulator) -> None:
    good = "good\n" + BASE
    for deck in (
        Deck(good, options={"measoutfile": "x"}),
        Deck(good, options={"reltol": "1e-3\n.control\nshell touch x\n.endc"}),
        Deck(good, options={"reltol\n.control": 1.0}),
        Deck(good, save=("v(a)\n.control\nshell touch x\n.endc",)),
        Deck(good, save=("`touch x`",)),
    ):
        result = pyspice.run(deck)
        assert result.outcome is Outcome.REFUSED
        assert not result.waveforms


def test_a_file_source_inside_the_folder_is_read(house: Path, engine: Callable[[str], Simulator]) -> None:
    (house / "points.txt").write_text("# time value\n0 0\n1e-6 1\n2e-6 1\n")
    text = 'file source\nA1 %vd([x 0]) fs\nR1 x 0 1k\n.model fs filesource (file="points.txt" MORE)\n.tran 10n 1.5u\n'
    text = text.replace(
        "MORE", "amploffset=[0] amplscale=[1] timeoffset=0 timescale=1 timerelative=false amplstep=false"
    )
    for name in ("pyspice", "ngspice"):
        data = engine(name).run(Deck(text, source=house / "deck.cir")).require()["tran"]
        assert data["v(x)"].values[-1] == pytest.approx(1.0)


# Second wall: the same text without the check.


@pytest.fixture(scope="module")
def library_pool() -> Pool:
    library = find_libngspice()
    if library is None:
        pytest.skip("no libngspice")
    return Pool("library", environment={"NGSPICE_LIBRARY_PATH": library})


@pytest.fixture(scope="module")
def command_pool() -> Pool:
    return Pool("command")


CONFINED = {name: "hostile\n" + body for name, (body, _) in CORPUS.items() if re.search("CANARY|EVIL", body)} | TITLES
START_UP = "* start\nsource deck.cir\nrun out.raw\nquit 0\n"
LIMITS = {"memory": 4 << 30, "file_size": 1 << 30}


@pytest.mark.parametrize("name", CONFINED)
def test_the_library_worker_holds_it_unchecked(house: Path, name: str, library_pool: Pool) -> None:
    if not all(sandbox.capabilities()[key] for key in ("programs", "files")):
        pytest.skip(str(sandbox.capabilities()["advice"]))
    text = fill(CONFINED[name], house)
    with library_pool.run({"deck": text + "\n.end\n", **LIMITS}, wall=5) as answer:
        assert answer.status in ("done", "exited", "died", "timeout")
    assert not acted(house)


@pytest.mark.parametrize("name", CONFINED)
def test_the_program_is_held_unchecked(house: Path, name: str, command_pool: Pool) -> None:
    if not all(sandbox.capabilities()[key] for key in ("programs", "files")):
        pytest.skip(str(sandbox.capabilities()["advice"]))
    program = find_ngspice()
    if program is None:
        pytest.skip("no ngspice")
    job = {
        "argv": [program, "-b"],
        "files": {".spiceinit": START_UP, "deck.cir": fill(CONFINED[name], house)}, **LIMITS,
    }  # fmt: skip
    with command_pool.run(job, wall=5) as answer:
        assert answer.status in ("done", "died", "timeout")
    assert not acted(house)


def test_the_corpus_acts_where_nothing_holds_it(house: Path) -> None:
    """The oracle of this file: without check and without sandbox, ngspice does run what is refused here."""
    program = find_ngspice()
    if program is None:
        pytest.skip("no ngspice")
    for name in (
        "control",
        "control upper case",
        "comment command",
        "wrdata",
        "d_process",
        "control after .end",
        "d_process as a name of two words",
    ):
        deck = house / "deck.cir"
        deck.write_text(fill(CONFINED[name], house) + ("" if ".end\n" in CONFINED[name] else ".end\n"))
        subprocess.run(
            [program, "-b", "-r", "out.raw", deck], cwd=house, capture_output=True, timeout=30, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        canaries = [path for path in house.parent.iterdir() if path.name.startswith("canary")]
        assert canaries, f"{name} did nothing: the case tests nothing"
        for path in canaries:
            path.unlink()


def test_words_that_only_look_like_files_are_let_through() -> None:
    """Nodes called file and path, and names of real parts, which begin with a digit or hold a sign."""
    text = (
        BASE + "R2 path file 1k\nV3 file 0 1\nV4 path 0 1\nD1 a 0 1N4148-A\n.model 1N4148-A D(is=1n)\n.save v(path)\n"
    )
    assert netlist.check(netlist.read_text("harmless\n" + text)).lines


LINKS = """
import os, sys
for name in ("engine.out", "deck.cir", ".spiceinit", "out.raw", "worker.log"):
    for folder in ("", "../"):
        try:
            if os.path.lexists(folder + name):
                os.unlink(folder + name)
            os.symlink(sys.argv[1], folder + name)
        except OSError:
            pass
"""


def test_links_that_one_program_leaves_lead_the_next_nowhere(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    pool = Pool("command")
    job = {"argv": [sys.executable, "-I", "-S", "-c", LINKS, str(victim)], "files": {"deck.cir": "first"}, **LIMITS}
    with pool.run(job, wall=30) as answer:
        assert (answer.status, answer.code) == ("done", 0)
        assert answer.scratch is not None
        assert (answer.scratch / "out.raw").is_symlink()
        assert answer.file("out.raw") is None
    with pool.run({**job, "argv": ["/bin/echo", "second"], "files": {"deck.cir": "second"}}, wall=30) as answer:
        assert answer.log == [("stdout", "second")]
        assert answer.scratch is not None
        assert sorted(path.name for path in answer.scratch.iterdir()) == ["deck.cir"]
        assert (answer.scratch / "deck.cir").read_text() == "second"
    pool.close()
    assert victim.read_text() == "untouched"


LIBRARY = (
    'title = "library"\ncircuit = """\n.lib {library.kit} tt\nV1 a 0 1\nR1 a 0 {r}\n"""\n'
    'libraries = { kit = "KIT" }\nanalysis = { kind = "op" }\n'
)


def test_a_bench_reads_a_library_outside_its_folder_only_where_that_is_allowed(house: Path) -> None:
    kit = house.parent / "kit"
    kit.mkdir()
    (kit / "kit.lib").write_text("* kit\n.lib tt\n.param r=1k\n.endl\n")
    bench = house / "bench.toml"
    for name in (str(kit / "kit.lib"), "../kit/kit.lib", "/etc/passwd"):
        bench.write_text(LIBRARY.replace("KIT", name))
        with pytest.raises(NetlistRefused, match=r"bench\.toml:7: library 'kit' lies outside .*--allow") as caught:
            Testbench.load(bench).deck()
        assert "root:" not in str(caught.value)
    with pytest.raises(NetlistRefused):
        Testbench.load(bench, allow=[kit]).deck()
    bench.write_text(LIBRARY.replace("KIT", "../kit/kit.lib"))
    deck = Testbench.load(bench, allow=[kit]).with_(max_step=1e-9).deck()
    assert netlist.read_text(deck.text, source=deck.source, roots=deck.roots).files == (kit / "kit.lib",)


def test_deep_nesting_is_refused_with_a_sentence(pyspice: Simulator) -> None:
    cells = "".join(f".subckt s{i} a\nX1 a s{i + 1}\n.ends\n" for i in range(2000))
    result = pyspice.run(Deck(f"deep\n{cells}.subckt s2000 a\nR1 a 0 1k\n.ends\nV1 a 0 1\nX1 a s0\n.op\n"))
    assert result.outcome is Outcome.REFUSED
    assert "nest deeper" in result.reason


def test_includes_that_multiply_are_refused_soon(tmp_path: Path) -> None:
    for level in range(6):
        body = f'.include "{level + 1}.inc"\n' * 12 if level < 5 else "R1 a 0 1k\n"
        (tmp_path / f"{level}.inc").write_text("* level\n" + body)
    started = time.monotonic()
    with pytest.raises(NetlistError, match="includes"):
        netlist.read_text('many\n.include "0.inc"\n', roots=[tmp_path])
    assert time.monotonic() - started < 20  # a few seconds on a busy machine


SETS = (
    'title = "sets"\ncircuit = """\nV1 a 0 1\nX1 a 0 memristor\n"""\nanalysis = { kind = "op" }\n'
    'devices = { memristor = { parameters = "SET" } }\ncorners = { far = { devices = { memristor = "CORNER" } } }\n'
)


def test_a_bench_reads_a_parameter_set_outside_its_folder_only_where_that_is_allowed(house: Path) -> None:
    away = house.parent / "sets"
    away.mkdir()
    own = 'device = "threshold_memristor"\n[sets.mine.values]\ntheta_p = 1.4\n'
    (away / "mine.toml").write_text(own)
    (house / "mine.toml").write_text(own)
    (house / "link.toml").symlink_to(away / "mine.toml")
    bench = house / "bench.toml"
    for name in (f"{away}/mine.toml", "../sets/mine.toml", "../sets/mine.toml:mine", "link.toml", "/etc/passwd.toml"):
        bench.write_text(SETS.replace("SET", name).replace("CORNER", "mine.toml"))
        with pytest.raises(NetlistRefused, match=r"bench\.toml:7: parameter set of device 'memristor' lies.*--allow"):
            Testbench.load(bench)
        bench.write_text(SETS.replace("SET", "mine.toml").replace("CORNER", name))
        with pytest.raises(NetlistRefused, match="--allow"):
            Testbench.load(bench).at_corner("far")
    bench.write_text(SETS.replace("SET", "mine.toml:mine").replace("CORNER", "../sets/mine.toml"))
    changed = Testbench.load(bench, allow=[away]).at_corner("far")
    assert changed.sets["memristor"].values["theta_p"].value == 1.4


def test_a_bench_reads_a_netlist_outside_its_folder_only_where_that_is_allowed(house: Path) -> None:
    bench = house / "bench.toml"
    for name in ("../outside.inc", str(house.parent / "outside.inc"), "link.txt", "/etc/passwd"):
        bench.write_text(f'title = "netlist"\nnetlist = "{name}"\nanalysis = {{ kind = "op" }}\n')
        with pytest.raises(NetlistRefused, match=r"bench\.toml:2: the netlist lies outside .*--allow"):
            Testbench.load(bench).deck()
    bench.write_text('title = "netlist"\nnetlist = "../outside.inc"\nanalysis = { kind = "op" }\n')
    assert "outside.inc" in Testbench.load(bench, allow=[house.parent]).deck().text
