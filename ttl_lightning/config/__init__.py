"""Every option once: composed, checked, and what makes a run the same run."""
