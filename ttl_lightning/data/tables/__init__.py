"""Files of text with a header, and what their columns say."""
