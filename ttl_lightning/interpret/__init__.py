"""Pure functions of models and tensors."""
