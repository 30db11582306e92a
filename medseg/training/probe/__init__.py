"""A plan tried for some seconds on this machine: what a step and an inference take."""
