"""Trained models that come with medseg: bundles, data, no code."""
