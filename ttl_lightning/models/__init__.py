"""Networks: an ordered list of named units, its strategies, and what they cost."""
