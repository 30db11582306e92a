"""How a model is made: planning, losses, batches, the loop."""
