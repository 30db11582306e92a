"""The clinical questions medseg ships, one TOML file each; data, no code."""
