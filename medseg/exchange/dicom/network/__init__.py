"""DICOM between machines: asking archives, fetching from them, sending to them."""
