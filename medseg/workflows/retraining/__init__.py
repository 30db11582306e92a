"""From corrections to the next champion: what is learned from, the training, the gate."""
