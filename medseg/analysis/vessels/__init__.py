"""From a vessel mask or its soft map to a tree, a lumen, and a graded list of blockages."""
