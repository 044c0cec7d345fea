"""Numbers from (reference, reconstruction, codes): one file a metric family, with its entries.

Nothing is imported here, so that the torch-free `avq.metrics.registry` stays cheap to reach.
"""
