"""The paper's tables and figures: what each needs to be run, and what was published."""
