"""What an evaluation measures with the model itself, beside what is measured image by image."""

from avq.metrics.registry import Metric, register_metric

register_metric(
    Metric("mae-gap", title="MAE on test images less that on training images", label="MAE gap", place=61,
           measured_after="avq.evaluation.gap:measure"),
    Metric("knockout-mae", title="rise of MAE when the level's codes are all its commonest", label="knock-out MAE",
           place=75, measured_after="avq.evaluation.knockout:measure"),
    Metric("knockout-lpips-squeeze", title="rise of LPIPS when the level's codes are all its commonest",
           label="knock-out LPIPS", place=75, weights="squeezenet1_1",
           measured_after="avq.evaluation.knockout:measure"),
)  # fmt: skip
