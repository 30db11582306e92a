"""What the machine has, and what it lacks."""
