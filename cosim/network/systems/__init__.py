"""Networks that `cosim.network.run` runs, one file each."""
