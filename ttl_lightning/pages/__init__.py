"""Pages of runs and sweeps: one file each, without scripts, that needs no network."""
