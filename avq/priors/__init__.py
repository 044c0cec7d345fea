"""The second stage: priors over a tokenizer's codes, what codes cost under them, and samples."""
