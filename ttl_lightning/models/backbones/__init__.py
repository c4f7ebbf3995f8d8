"""Backbones: source networks as ordered lists of named units."""
