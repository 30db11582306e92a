"""From a scan to its masks and findings: one, one that a person asks for, or a folder of them."""
