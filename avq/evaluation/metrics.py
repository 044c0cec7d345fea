"""What an evaluation measures with the model itself, beside the metrics of images and codes."""

from avq.metrics.registry import Metric, register_metric

register_metric(
    Metric("mae-gap", title="MAE on test images minus MAE on training images", label="MAE gap", place=61,
           measured_after="avq.evaluation.gap:measure"),
    Metric("knockout-mae", title="rise of MAE when all codes of the level are its most frequent one",
           label="knock-out MAE", place=75, measured_after="avq.evaluation.knockout:measure"),
    Metric("knockout-lpips-squeeze", title="rise of LPIPS when all codes of the level are its most frequent one",
           label="knock-out LPIPS", place=75, weights="squeezenet1_1",
           measured_after="avq.evaluation.knockout:measure"),
)  # fmt: skip
