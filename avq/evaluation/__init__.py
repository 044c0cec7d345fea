"""Measuring a trained model: its quality on a split, and what it costs."""
