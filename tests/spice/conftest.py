"""Engines, each opened once for all tests of this folder; a machine that lacks one says so in the skip."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosim.engines.openvaf import compile_model

VERILOG_RC = """`include "disciplines.vams"
module cosim_test_rc(p, n);
    inout p, n; electrical p, n, state;
    parameter real r = 1e3 from (0:inf);
    parameter real c = 1e-9 from (0:inf);
    analog begin
        I(p, n) <+ (V(p, n) - V(state)) / r;
        V(state) <+ idt((V(p, n) - V(state)) / (r * c), 0);
    end
endmodule
"""


@pytest.fixture(scope="session")
def verilog_rc(tmp_path_factory: pytest.TempPathFactory, osdi: None) -> Path:
    """A series RC as a compiled Verilog-A module, ``state`` the voltage of its capacitor."""
    return compile_model(VERILOG_RC, cache=tmp_path_factory.mktemp("osdi"))
