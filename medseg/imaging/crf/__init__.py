"""Conditional random fields: a model's class probabilities, made to agree with their neighbours and with the image."""
