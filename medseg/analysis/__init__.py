"""Numbers out of label maps."""
