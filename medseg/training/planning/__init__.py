"""From a fingerprint of the data to a plan."""
