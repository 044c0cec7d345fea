"""Metrics of a training run, recorded by `avq/tasks/train.py`, and the time to quality, by `avq/store/quality.py`."""

from avq.metrics.registry import Metric, register_metric

register_metric(
    Metric("validation-mae", title="mean absolute error on validation images", label="validation MAE", better="lower",
           place=63, shown=False, not_judged="mae is judged in its place"),
    Metric("process-memory", title="peak memory of the run's process: images, training, evaluation",
           label="process MiB", unit="MiB", better="lower", kind="memory", format=".0f", of="training", place=110),
    Metric("training-time", title="wall-clock time of the training run", label="training s", unit="s", better="lower",
           kind="time", format=".0f", of="training", place=110, not_judged="runs of a sweep share their machine"),
    Metric("time-to-quality", title="training time until validation MAE is at the ablation's level",
           label="s to quality", unit="s", better="lower", kind="time", format=".0f", of="training", place=110),
)  # fmt: skip
