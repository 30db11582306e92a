"""Scans that someone hands over: found, looked into, taken in, freed of names."""
