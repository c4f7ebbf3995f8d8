"""What a run wrote down: its result and its files. Imports no torch."""
