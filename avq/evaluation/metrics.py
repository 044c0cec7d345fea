"""What an evaluation measures with the model itself, beside `avq.metrics`: `knockout.py` and `evaluate.py` do."""

from avq.metrics.registry import Metric, register_metric

register_metric(
    Metric("mae-gap", title="MAE on test images less that on training images", label="MAE gap", place=61),
    Metric("knockout-mae", title="rise of MAE when the level's codes are all its commonest", label="knock-out MAE",
           place=75),
    Metric("knockout-lpips-squeeze", title="rise of LPIPS when the level's codes are all its commonest",
           label="knock-out LPIPS", place=75, weights="squeezenet1_1"),
)  # fmt: skip
