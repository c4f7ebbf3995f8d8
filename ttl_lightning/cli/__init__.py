"""The commands: thin shells over what the other rooms do."""
