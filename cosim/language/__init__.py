"""The languages of circuits: netlists, Verilog-A, LTspice's and PSpice's dialects; their syntax, and what is refused in
them."""
