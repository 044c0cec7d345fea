"""Quantizers: one file each, by name in a registry."""
