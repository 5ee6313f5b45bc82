"""Words that Verilog-A keeps for itself."""

from __future__ import annotations

# Words that OpenVAF refuses as a name, and that a model may want to use as one.
RESERVED = frozenset(
    """time ground above cross timer idt ddt exp log ln abs min max sqrt pow floor ceil branch default string nature
    discipline potential flow access units abstol input output wire reg small large and or not nand nor xor xnor
    initial always assign event force release wait repeat forever disable fork join function task table edge posedge
    negedge signed unsigned primitive specify generate genvar automatic cell config design include instance library use
    vectored scalared transition slew absdelay last_crossing laplace_nd zi_nd limexp analysis noise_table white_noise
    flicker_noise ac_stim from exclude inf domain discrete continuous net_resolution assert ddt_nature idt_nature sin
    cos tan sinh cosh tanh hypot atan2 asin initial_step final_step driver_update wreal noshowcancelled showcancelled
    ifnone rtran tran pulldown pullup notif0 deassign defparam macromodule uwire wand wor realtime""".split()  # noqa: SIM905
)
