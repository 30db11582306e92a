"""What only nnU-Net has: its file of folds, and its folder of raw data as it wants to find it."""
