"""What readers did with results, what they should read next, and whether the stream of studies drifts."""
