"""medseg: medical image segmentation, from scan to reviewed findings."""

__version__ = "0.1.0"
