"""Compressed pixel data, decoded in a child process with limits."""
