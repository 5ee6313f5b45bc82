"""The command ``cosim``: which verbs there are, and what a user sees when something goes wrong.

A verb is a module of this package with ``register(app)``; only the module of the verb that was asked for is imported,
so ``cosim --help`` stays fast. Exit codes: 0 done, 1 a simulation, fit or check failed, 2 bad input or usage,
3 an engine is missing, 4 a check could not see all that it is asked of, 70 a bug of cosim, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Annotated, Any

import typer

from cosim import __version__
from cosim.errors import CosimError, EngineMissing, InputError, legible

# In the order in which a user meets them. Each is the module of that name in this package.
VERBS: Mapping[str, str] = MappingProxyType(
    {
        "demo": "The whole line in two minutes: curve, fit, 1T1R cell, surrogate, learning network, one report.",
        "doctor": "What this machine can do: engines, compilers, data; what is missing and how to get it.",
        "run": "Run a bench or a SPICE netlist, and check its measures against their limits.",
        "validate": "Judge benches: pass, fail or cannot tell for every limit, in every corner.",
        "campaign": "Sweeps, corners, Monte Carlo, searches: thousands of cases of a bench, kept as they come.",
        "cache": "The cases of campaigns that need not be run again: show and prune.",
        "benches": "The benches that ship: list them, show one, copy one to change it.",
        "new": "A file to begin with: a bench from a working deck.",
        "gallery": "The circuits' figures beside the numbers of their sources.",
        "lint": "What breaks in a Verilog-A or LTspice model, and with --fix a version that runs.",
        "fit": "Extract device parameters from a measured curve, and say which of them the curve determines.",
        "surrogate": "Train a fast model from SPICE samples, check one against SPICE, or export it to another program.",
        "network": "Run a spiking network on a surrogate of the circuit.",
        "heat": "The heat equation in a thermal synapse's stack, and the circuit that stands for it.",
        "devices": "The device models and their published parameter sets.",
        "datasets": "The measured curves and image sets: where they are, and where they come from.",
    }
)

# A BLAS that starts threads slows down worker processes that share the cores. Only a default: a value that
# the user has set stays. Simulators have another limit (`cosim.engines.worker.sandbox`).
_FORMATTED = warnings.formatwarning
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def offered() -> dict[str, str]:
    """The verbs of `VERBS` whose module exists, with their one-line help."""
    return {verb: text for verb, text in VERBS.items() if find_spec(f"cosim.cli.{verb}") is not None}


def application(words: Sequence[str] = ()) -> typer.Typer:
    """The application in which the verbs named in ``words`` are loaded, and all others are known by name and help."""
    app = typer.Typer(
        name="cosim",
        help="SPICE-coupled co-simulation of memristive circuits: validate, extract, export.",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_root)
    for verb, text in offered().items():
        if verb in words:
            import_module(f"cosim.cli.{verb}").register(app)
        else:
            app.command(verb, help=text)(_placeholder)
    return app


def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error (or COSIM_DEBUG=1).")] = False,
) -> None:
    # --debug has its effect in `main`, wherever it stands; it is declared here to be seen in the help.
    if version:
        print(f"cosim {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def command(words: Sequence[str] = ()) -> Any:
    """`application` as what runs; its help keeps what stands in brackets, which rich would take for markup."""
    found = typer.main.get_command(application(words))
    _keep_brackets(found)
    return found


def _keep_brackets(entry: Any) -> None:
    from rich.markup import escape

    for one in (entry, *getattr(entry, "params", ())):
        for name in ("help", "short_help", "epilog"):
            if text := getattr(one, name, None):
                setattr(one, name, escape(text))
    for inner in getattr(entry, "commands", {}).values():
        _keep_brackets(inner)


def _placeholder() -> None:
    raise AssertionError("the verb was not loaded by application()")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``cosim`` with ``arguments`` (default: the process's own) and return its exit code; never raises."""
    if arguments is None:  # in its own process only: a caller's stays the caller's
        for name in _THREADS:
            os.environ.setdefault(name, "1")
        warnings.formatwarning = _warned
    given = list(sys.argv[1:] if arguments is None else arguments)
    own = given[: given.index("--")] if "--" in given else given
    debug = "--debug" in own or os.environ.get("COSIM_DEBUG", "") not in ("", "0")
    words = [word for word in own if word != "--debug"] + given[len(own) :]
    # A shell that completes a line puts it into COMP_WORDS.
    left = ""
    asked = {*words, *os.environ.get("COMP_WORDS", "").split()}
    try:
        code = command(sorted(asked))(args=words, prog_name="cosim", standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as end:  # rich and typer end so when the reader of a pipe is gone
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BrokenPipeError:
        _discard_stdout()
        return 128 + 13  # what a shell reports for SIGPIPE
    except (KeyboardInterrupt, typer.Abort) as stop:
        code, left = 130, f"; {stop}" if isinstance(stop, KeyboardInterrupt) and str(stop) else ""
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _report(error)
    if code == 130:
        _say(f"interrupted{left}")
    return code if isinstance(code, int) else 0


def _warned(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> str:
    """A warning of cosim's own in one line; any other as Python shows it."""
    own = category.__module__.partition(".")[0] == "cosim"
    return f"cosim: note: {legible(str(message))}\n" if own else _FORMATTED(message, category, *where, **more)


def _report(error: Exception) -> int:
    """Say in one sentence on stderr what went wrong, and return the exit code for it."""
    if isinstance(error, CosimError):
        _say(str(error))
        return 2 if isinstance(error, InputError) else 3 if isinstance(error, EngineMissing) else 1
    if type(error).__name__ == "NoArgsIsHelpError":  # a group of verbs without a verb: its help is the message
        error.show()  # type: ignore[attr-defined]
        return 2
    if hasattr(error, "format_message"):  # usage: typer carries click under a private name, so its class has no import
        path = getattr(getattr(error, "ctx", None), "command_path", "cosim")
        _say(f"{error.format_message().rstrip('.')}; see '{path} --help'")
        return 2
    if isinstance(error, OSError) and error.strerror:
        full = "; free some space, or choose another folder" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        _say((f"{error.filename}: {error.strerror}" if error.filename else error.strerror) + full)
        return 1
    if isinstance(error, MemoryError):
        _say("out of memory; take fewer cases, neurons or samples at a time")
        return 1
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    _say(f"a bug of cosim, not of your input ({text}); run it again with --debug for the traceback to report")
    return 70


def _say(sentence: str) -> None:
    print(f"cosim: {legible(sentence)}", file=sys.stderr)


def _discard_stdout() -> None:
    # Otherwise the interpreter's own flush at exit complains once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
