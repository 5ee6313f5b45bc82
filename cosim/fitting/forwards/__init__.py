"""Forward models, one file per kind of curve; `cosim.data.kinds` names them."""
