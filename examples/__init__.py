"""One page per paper: each module is a script, ``python examples/stc.py -o OUT``."""
