"""Distances between the distributions of originals and reconstructions.

The Inception ones are `rfid` and `rkid`; those over SqueezeNet are `fd-squeezenet` and `kd-squeezenet`, and never
called FID.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from avq.metrics.registry import Metric, register_metric

if TYPE_CHECKING:
    from avq.metrics.feature_distances import FeatureDistances
    from avq.metrics.subject import Subject

register_metric(
    Metric("rfid", title="Fréchet Inception distance of reconstructions", label="rFID", better="lower", format=".2f",
           of="bytes", place=50, weights="inception-v3-compat", measured_by="avq.metrics.distribution:inception"),
    Metric("rkid", title="kernel Inception distance of reconstructions", label="rKID", better="lower", format=".5f",
           of="bytes", place=50, weights="inception-v3-compat", measured_by="avq.metrics.distribution:inception"),
    Metric("rkid-unpaired", title="the same, no image compared with its own reconstruction", label="rKID unpaired",
           better="lower", format=".5f", of="bytes", place=50, shown=False, weights="inception-v3-compat",
           not_judged="rkid is judged in its place", measured_by="avq.metrics.distribution:inception"),
    Metric("fd-squeezenet", title="Fréchet distance of SqueezeNet features (no FID)", label="FD SqueezeNet",
           better="lower", format=".4g", of="bytes", place=50, weights="squeezenet1_1",
           measured_by="avq.metrics.distribution:squeezenet"),
    Metric("kd-squeezenet", title="kernel distance of SqueezeNet features (no KID)", label="KD SqueezeNet",
           better="lower", format=".4g", of="bytes", place=50, weights="squeezenet1_1",
           measured_by="avq.metrics.distribution:squeezenet"),
    Metric("kd-squeezenet-unpaired", title="the same, no image compared with its own reconstruction",
           label="KD SqueezeNet unpaired", better="lower", format=".4g", of="bytes", place=50, shown=False,
           weights="squeezenet1_1", not_judged="kd-squeezenet is judged in its place",
           measured_by="avq.metrics.distribution:squeezenet"),
)  # fmt: skip


def distances(network: str, subject: Subject) -> FeatureDistances | str | None:
    """The distances over a network's features, or why they are not available; None without a reference set."""
    from avq.metrics.feature_distances import FeatureDistances
    from avq.metrics.features import extractor
    from avq.metrics.weights import MissingWeightsError, find_weights

    if subject.reference is None:
        return None
    try:
        return FeatureDistances(extractor(network, find_weights(network)), subject)
    except MissingWeightsError as error:
        return str(error)


inception, squeezenet = (partial(distances, network) for network in ("inception-v3-compat", "squeezenet1_1"))
