"""A trained model and its use: specification, network, sliding window, bundle."""
