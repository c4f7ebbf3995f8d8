"""LightningModules, one file a task, and the pure functions that score their predictions."""
