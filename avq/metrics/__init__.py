"""Numbers from (reference, reconstruction, codes): one file a metric family, costs too.

Nothing is imported here, so that the torch-free `avq.metrics.catalogue` stays cheap to reach.
"""
