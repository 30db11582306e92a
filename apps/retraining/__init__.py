"""Retraining as a program: for a schedule or another program to start."""
