"""Reports for people and machines: one Report in, every format out."""
