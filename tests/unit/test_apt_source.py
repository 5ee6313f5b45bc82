"""Package-source entries of real machines, and the entry for the backports that is made from each."""

from textwrap import dedent

import pytest

from apt_source import entries, main, release

BOOKWORM = {"ID": "debian", "VERSION_CODENAME": "bookworm"}
NOBLE = {"ID": "ubuntu", "ID_LIKE": "debian", "VERSION_CODENAME": "noble", "UBUNTU_CODENAME": "noble"}
KEY = """\
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBGZha2VrZXkBEADfYWtlIGtleSBmb3IgYSB0ZXN0
 =abcd
 -----END PGP PUBLIC KEY BLOCK-----
"""


def machine(tmp_path, files):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("deb http://a.example/debian bookworm main", "deb http://a.example/debian bookworm-backports main"),
        (
            "deb http://a.example/debian/ bookworm main contrib # own",
            "deb http://a.example/debian/ bookworm-backports main",
        ),
        (
            "deb [ arch=amd64 signed-by=/usr/share/keyrings/k.gpg ] http://a.example/debian bookworm main",
            "deb [ arch=amd64 signed-by=/usr/share/keyrings/k.gpg ] http://a.example/debian bookworm-backports main",
        ),
        (
            "  deb\t[signed-by=/k.asc]  mirror+file:/etc/apt/mirrors/debian.list   bookworm\tmain",
            "deb [signed-by=/k.asc]  mirror+file:/etc/apt/mirrors/debian.list bookworm-backports main",
        ),
        ("deb http://a.example/debian stable main", "deb http://a.example/debian bookworm-backports main"),
    ],
)
def test_one_line_format_keeps_options_and_address(tmp_path, line, expected):
    [entry] = entries(machine(tmp_path, {"sources.list": f"# first\n{line}\n"}), BOOKWORM)
    assert entry == ("bookworm-backports", "list", f"{expected}\n")


@pytest.mark.parametrize(
    "line",
    [
        "# deb http://a.example/debian bookworm main",
        "deb-src http://a.example/debian bookworm main",
        "deb http://a.example/debian bookworm-updates main",
        "deb http://a.example/debian trixie main",
        "deb cdrom:[Debian GNU/Linux 12 _Bookworm_]/ bookworm main",
        "deb http://a.example/flat ./",
    ],
)
def test_lines_that_say_nothing_about_the_release_give_nothing(tmp_path, line):
    assert entries(machine(tmp_path, {"sources.list": line}), BOOKWORM) == []


@pytest.mark.parametrize("signed", ["Signed-By: /usr/share/keyrings/k.gpg\n", KEY, ""], ids=["path", "inline", "none"])
def test_deb822_keeps_every_field_but_suites_and_components(tmp_path, signed):
    text = (
        "# the archive\nTypes: deb deb-src\nURIs: http://a.example/debian\n# a comment inside\n"
        f"Suites: bookworm bookworm-updates\nComponents: main contrib\nArchitectures: amd64\n{signed}"
        "\nTypes: deb\nURIs: http://a.example/debian-security\nSuites: bookworm-security\nComponents: main\n"
    )
    [entry] = entries(machine(tmp_path, {"sources.list.d/debian.sources": text}), BOOKWORM)
    head = "Types: deb\nSuites: bookworm-backports\nComponents: main\n"
    kept = "URIs: http://a.example/debian\nArchitectures: amd64\n"
    assert entry == ("bookworm-backports", "sources", head + kept + signed)


@pytest.mark.parametrize("field", ["Enabled: no", "Enabled: False", "Types: deb-src"])
def test_stanzas_that_are_off_give_nothing(tmp_path, field):
    stanza = dict.fromkeys(
        ["Types: deb", "URIs: http://a.example/debian", "Suites: bookworm", "Components: main", field]
    )
    if field.startswith("Types"):
        stanza.pop("Types: deb")
    assert entries(machine(tmp_path, {"sources.list.d/debian.sources": "\n".join(stanza)}), BOOKWORM) == []


def test_the_distributions_own_file_goes_before_others_and_none_is_taken_twice(tmp_path):
    files = {
        "sources.list.d/a-vendor.list": "deb http://vendor.example/debian bookworm main\n",
        "sources.list.d/debian.sources": "Types: deb\nURIs: http://a.example/\nSuites: bookworm\nComponents: main\n",
        "sources.list.d/old.list.disabled": "deb http://off.example/debian bookworm main\n",
        "sources.list.d/twice.list": "deb http://vendor.example/debian bookworm contrib\n",
        "sources.list.d/cosim-backports.list": "deb http://b.example/debian bookworm main\n",
    }
    found = entries(machine(tmp_path, files), BOOKWORM)
    assert [("a.example" in entry.text, entry.extension) for entry in found] == [(True, "sources"), (False, "list")]


def test_ubuntu_has_ngspice_in_universe(tmp_path):
    text = "Types: deb\nURIs: http://a.example/ubuntu/\nSuites: noble noble-updates\nComponents: main\n"
    [entry] = entries(machine(tmp_path, {"sources.list.d/ubuntu.sources": text}), NOBLE)
    assert "Suites: noble-backports\nComponents: main universe\n" in entry.text


def test_a_derivative_takes_the_codename_of_its_parent(tmp_path):
    mint = release('ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\n')
    files = {
        "sources.list.d/official.list": "deb http://m.example wilma main\ndeb http://a.example/ubuntu noble main\n"
    }
    [entry] = entries(machine(tmp_path, files), mint)
    assert entry.text == "deb http://a.example/ubuntu noble-backports main universe\n"


def test_the_command_prints_one_entry_and_fails_past_the_last(tmp_path, capsys):
    apt = machine(tmp_path, {"sources.list": "deb http://a.example/debian bookworm main\n"})
    system = tmp_path / "os-release"
    system.write_text(
        dedent("""\
        PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
        VERSION_CODENAME=bookworm
        ID=debian
    """)
    )
    assert main(str(apt), str(system), "0") == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["bookworm-backports", "list"]
    assert main(str(apt), str(system), "1") == 1
    assert "no entry 1" in capsys.readouterr().err


def test_a_release_without_a_codename_gives_nothing(tmp_path):
    assert (
        entries(machine(tmp_path, {"sources.list": "deb http://a.example/debian sid main\n"}), {"ID": "debian"}) == []
    )
