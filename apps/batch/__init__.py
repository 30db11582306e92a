"""Batches without the command line: for a scheduler, a script, or a machine that watches a folder."""
