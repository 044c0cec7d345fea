"""The entries of metrics: all there, in their order, without torch; what they name can be imported."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

from avq.errors import UsageError
from avq.metrics.measures import measured_together, measures
from avq.metrics.registry import METRICS, Metric, register_metric
from avq.metrics.subject import Subject

# In the order of a table's columns, which no change of the entries may disturb.
NAMES = """
bits-per-pixel bits-per-pixel-entropy mae mae-sigma mse psnr ssim ms-ssim lpips-squeeze lpips-alex lpips-vgg rfid rkid
rkid-unpaired fd-squeezenet kd-squeezenet kd-squeezenet-unpaired eye-mae mae-gap symmetry-gap symmetry-gap-blur
symmetry-excess symmetry-gap-lpips-squeeze
symmetry-gap-blur-lpips-squeeze symmetry-excess-lpips-squeeze validation-mae active-codes codebook-utilization
perplexity dead-codes
knockout-mae knockout-lpips-squeeze attention-gain attention-distance attention-entropy params-trainable params-codebook
params-buffers macs receptive-field latent-height latent-width attention-memory-analytic train-images-per-s
inference-images-per-s peak-memory process-memory training-time time-to-quality attention-memory
attention-memory-predicted attention-memory-exponent attention-time attention-time-predicted attention-time-exponent
model-memory model-memory-predicted model-memory-exponent model-time model-time-predicted model-time-exponent
"""


@pytest.mark.parametrize("first", ["registry", "distribution", "symmetry", "lpips"])
def test_entries_are_read_in_order_and_without_torch(first: str) -> None:
    """Whichever module of metrics happens to be imported first."""
    code = (
        f"import avq.metrics.{first}, sys; from avq.metrics.registry import METRICS; print(*METRICS); "
        "assert not {'torch', 'pandas', 'numpy'} & set(sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == NAMES.split()


@pytest.mark.parametrize("name", METRICS)
def test_an_entry_is_sound(name: str) -> None:
    metric = METRICS[name]
    assert metric.name == name == name.lower().replace("_", "-").replace(" ", "-")
    assert not metric.measured_by or callable(pkgutil.resolve_name(metric.measured_by))
    if metric.weights:
        from avq.metrics.weights import REGISTRY

        assert name in REGISTRY[metric.weights].metrics


def test_each_measure_gives_the_metrics_that_name_it() -> None:
    for name, metrics in measured_together().items():
        for measure in measures(Subject([8], [1], 176), only=[name]):
            assert {row.metric for row in measure.compute()} == {metric.name for metric in metrics}


def test_an_unknown_metric_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'perplexity'"):
        METRICS.find("perplexty")


def test_a_measure_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS))
    register_metric(Metric("half-done", title="", label="", measured_by="no_such_module:Measure"))
    with pytest.raises(UsageError, match="metric 'half-done' names 'no_such_module:Measure', which cannot be imported"):
        measures(Subject([8], [1], 16))
