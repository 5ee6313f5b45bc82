"""The package-source entry for a distribution's backports, derived from the entries that the machine has.

Debian 12's own ngspice has no OSDI; that of its backports has. ``./run`` executes this file with the system's Python,
before any package is installed, so it imports the standard library only::

    python3 apt_source.py /etc/apt /etc/os-release 0

prints the suite, the file's extension (``list`` or ``sources``) and the entry, made from the first of the machine's
own entries for its release; 1, 2, ... from the others (a third party may carry the same suite name). Which host and
which key the machine trusts is its administrator's choice, so both are taken over as they stand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

# deb [option=value ...] uri suite component ...
_ONE_LINE = re.compile(r"deb\s+(?P<options>\[[^\]]*\]\s+)?(?P<uri>[^\s\[]+)\s+(?P<suite>\S+)\s+(?P<components>[^#]+)")
_ALIASES = {"stable", "oldstable", "oldoldstable"}
_OFF = {"no", "false", "without", "off", "disable", "0"}


class Entry(NamedTuple):
    """An entry for ``suite``, to stand in a file of its own called ``*.<extension>``."""

    suite: str
    extension: str
    text: str


def release(text: str) -> dict[str, str]:
    """The fields of an ``os-release`` file."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs}


def entries(apt: Path, system: Mapping[str, str]) -> list[Entry]:
    """Entries for the backports of the release ``system``, one for each own entry below ``apt``, the likeliest first.

    Empty where the release has no codename (Debian's testing has none that is stable) or no entry names it.
    """
    family = {system.get("ID", ""), *system.get("ID_LIKE", "").split()}
    codename = system.get("DEBIAN_CODENAME") or system.get("UBUNTU_CODENAME") or system.get("VERSION_CODENAME", "")
    if not codename:
        return []
    components = "main universe" if "ubuntu" in family else "main"
    wanted = {codename, *_ALIASES} if "debian" in family and "ubuntu" not in family else {codename}
    parts = sorted((apt / "sources.list.d").glob("*"))
    # The distribution's own file goes before those that others have added.
    parts.sort(key=lambda path: path.stem not in family)
    found = dict[Entry, None]()
    for path in [apt / "sources.list", *parts]:
        if not path.is_file() or path.name.startswith("cosim-backports."):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".list":
            found.update(dict.fromkeys(_from_lines(text, wanted, codename, components)))
        elif path.suffix == ".sources":
            found.update(dict.fromkeys(_from_stanzas(text, wanted, codename, components)))
    return list(found)


def _from_lines(text: str, wanted: set[str], codename: str, components: str) -> Iterator[Entry]:
    for line in text.splitlines():
        match = _ONE_LINE.match(line.strip())
        if match and match["suite"] in wanted and not match["uri"].startswith("cdrom:"):
            suite = f"{codename}-backports"
            yield Entry(suite, "list", f"deb {match['options'] or ''}{match['uri']} {suite} {components}\n")


def _from_stanzas(text: str, wanted: set[str], codename: str, components: str) -> Iterator[Entry]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        # A field goes on in the lines that are indented: a key block does.
        fields = {name.lower(): (name, value) for name, value in re.findall(r"(?m)^(\S+?):(.*(?:\n[ \t].*)*)", stanza)}
        words = {name: value.split() for name, (_, value) in fields.items()}
        if "deb" not in words.get("types", []) or not wanted & {*words.get("suites", [])} or "uris" not in words:
            continue
        if {word.lower() for word in words.get("enabled", [])} & _OFF or words["uris"][0].startswith("cdrom:"):
            continue
        suite = f"{codename}-backports"
        kept = (
            f"{name}:{value}"
            for key, (name, value) in fields.items()
            if key not in ("types", "suites", "components", "enabled")
        )
        body = "\n".join(["Types: deb", f"Suites: {suite}", f"Components: {components}", *kept])
        yield Entry(suite, "sources", f"{body}\n")


def main(apt: str, os_release: str, number: str = "0") -> int:
    """Print one entry; 1 where the machine has no entry of that number."""
    found = entries(Path(apt), release(Path(os_release).read_text(encoding="utf-8")))
    if not 0 <= int(number) < len(found):
        print(f"no entry {number} for this release below {apt}", file=sys.stderr)
        return 1
    entry = found[int(number)]
    print(f"{entry.suite}\n{entry.extension}\n{entry.text}", end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
