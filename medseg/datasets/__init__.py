"""Cases to train and test on: manifests, splits, checks, downloads, and phantoms with known truth."""
