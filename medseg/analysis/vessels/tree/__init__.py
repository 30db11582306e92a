"""From a mask to branches: skeleton, bridges over gaps, smooth centrelines."""
