"""Made studies whose truth follows from formulas."""
