"""A model at work: windows over a scan, scores into labels, several models as one, in bounded memory."""
