"""DICOM: the only place that imports pydicom. Patient coordinates are turned from LPS+ into RAS+ here."""
