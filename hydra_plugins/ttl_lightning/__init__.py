"""Launcher and sweepers for Hydra, which imports them in every program: no torch at the top."""
