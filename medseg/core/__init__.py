"""The nouns of medseg: grids, images, label maps, tasks, cases and findings. Nothing here knows a file format."""
