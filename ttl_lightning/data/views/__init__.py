"""What of a stored sample the network sees."""
