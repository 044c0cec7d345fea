"""Images: dataset cards, sources, splits and batches. Knows nothing of models, metrics or runs."""
