"""Forward models, one file per kind of curve; `cosim.fitting.kinds` names them."""
