"""Networks of surrogates."""
