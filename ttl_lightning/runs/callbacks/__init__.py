"""Thin shells over pure functions, for Lightning's Trainer."""
