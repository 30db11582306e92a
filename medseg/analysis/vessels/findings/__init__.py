"""What is said: dips that recover, percentages with intervals, grades, confidence, and the painted mask."""
