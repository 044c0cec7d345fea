"""Where results lie: folders, records, and the tables assembled from them."""
