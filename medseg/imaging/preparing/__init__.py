"""From a scan as stored to what a network sees, and the way back."""
