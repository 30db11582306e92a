"""Bytes in, bytes out: reading and writing scans and masks in every format, and nothing else."""
