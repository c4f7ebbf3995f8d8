"""Finished runs as files that other programs load, and what they cost there."""
