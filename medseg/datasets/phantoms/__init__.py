"""Made studies whose truth follows from formulas: what training, demonstration and tests measure against."""
