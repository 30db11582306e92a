"""Regions of voxels: pieces of a mask, and pieces of an image that are alike."""
