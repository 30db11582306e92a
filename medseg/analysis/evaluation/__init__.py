"""How good a mask is against a reference."""
