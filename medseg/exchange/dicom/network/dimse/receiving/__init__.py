"""The C-STORE listener: a process of its own under limits, and the spool that it fills and others empty."""
