"""Voxels to voxels: resampling, normalising, components, pictures. Pure functions; no files, no networks."""
