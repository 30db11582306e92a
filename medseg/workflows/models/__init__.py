"""A finished model: scored, qualified, listed, handed on."""
