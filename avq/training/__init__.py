"""One run: the loop, its losses and optimiser, checkpoints."""
