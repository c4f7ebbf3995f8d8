"""What is chosen for this machine, and what it runs out of."""
