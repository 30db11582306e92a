"""Settings of the service: one file, medseg.toml, and where each value came from."""
