"""The gate: no model replaces a better one."""
