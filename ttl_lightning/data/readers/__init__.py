"""Files to arrays, one file a format."""
