"""Quality of samples: against torch-fidelity, the formulas written out, and equal n."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_prc import prc_features_to_metric

from avq.errors import UsageError
from avq.priors import quality
from avq.priors.memorisation import in_features
from avq.priors.quality import sample_quality


def test_precision_recall_density_and_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    real, samples = rng.normal(size=(150, 4)), rng.normal(size=(150, 4)) * 0.6 + 0.5
    whole = sample_quality(real, samples)
    monkeypatch.setattr(quality, "_ROWS", 32)
    assert sample_quality(real, samples) == whole
    peer = prc_features_to_metric(
        torch.from_numpy(samples), torch.from_numpy(real), prc_neighborhood=5, prc_batch_size=64, save_cpu_ram=False,
        verbose=False,
    )  # fmt: skip
    assert whole.precision == pytest.approx(peer["precision"])
    assert whole.recall == pytest.approx(peer["recall"])
    assert whole.recall < whole.precision < 1
    distances = np.linalg.norm(real[:, None] - samples, axis=2)
    reach = np.sort(np.linalg.norm(real[:, None] - real, axis=2), 1)[:, 5]
    assert whole.density == pytest.approx((distances < reach[:, None]).sum() / (5 * 150))
    assert whole.coverage == pytest.approx((distances.min(1) < reach).mean())
    assert whole.frechet > 0.5


def test_as_many_samples_as_real_images() -> None:
    with pytest.raises(UsageError, match="20 real images and 19 samples: as many of each are needed"):
        sample_quality(np.zeros((20, 2)), np.zeros((19, 2)))
    with pytest.raises(UsageError, match="6 at least"):
        sample_quality(np.zeros((5, 2)), np.zeros((5, 2)))


def test_memorisation_in_features(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    train, test, other = (rng.normal(size=(count, 8)).astype(np.float32) for count in (1000, 200, 201))
    honest = in_features(other, test, train)
    assert abs(honest.statistic) < 3
    assert not honest.found
    assert honest.tests == pytest.approx(np.linalg.norm(test[:, None] - train, axis=2).min(1), rel=1e-4)
    assert in_features(train[:201] + 0.05 * other, test, train).found
    monkeypatch.setattr("avq.priors.memorisation._AT_ONCE", 5000)
    assert in_features(other, test, train).samples == pytest.approx(honest.samples, rel=1e-4)
