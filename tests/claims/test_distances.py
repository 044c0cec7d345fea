"""Golden values of perceptual and distribution metrics: closed forms, other packages, and the packages by hand."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch_fidelity.metric_kid import kid_features_to_metric

from avq.data.config import DataConfig
from avq.data.sources import load_dataset
from avq.evaluation.evaluate import evaluate
from avq.metrics import feature_distances, features, perceptual, weights
from avq.metrics.evaluator import Evaluator
from avq.metrics.feature_distances import (
    FeatureDistances,
    disjoint_parts,
    frechet_distance,
    kernel_distance,
    kernel_subsets,
    unpaired_kernel_distance,
)
from avq.metrics.features import INCEPTION, SQUEEZENET, Extractor
from avq.metrics.measures import measures
from avq.metrics.reference import alone, feature_file, load_features, save_features
from avq.metrics.subject import ReferenceSet, Subject
from avq.metrics.weights import WeightsFile
from avq.models import create_variant

SHARED = Path(__file__).parents[2].parent / "shared" / "weights"


def faces(count: int, size: int = 32, seed: int = 0) -> Tensor:
    """Smooth random pictures in [-1, 1], exactly those of their bytes."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    images = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)
    return (images * 255).round() / 127.5 - 1


def damaged(images: Tensor, seed: int = 1) -> Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed)) * 0.15
    return (((images + noise).clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def register(name: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a made file stand for a network's weights: the ids that it gives are its own."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    known = WeightsFile(path.name, digest, path.stat().st_size, "made", url=path.as_uri())
    monkeypatch.setitem(weights.REGISTRY, name, replace(weights.REGISTRY[name], files=(known,)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the right shape for every network, drawn at random."""
    from torchvision.models import alexnet, squeezenet1_1

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(squeezenet1_1(weights=None).state_dict(), folder / "squeezenet.pth")
    torch.save(
        {f"features.{k}": v for k, v in alexnet(weights=None).features.state_dict().items()}, folder / "alex.pth"
    )
    return folder


@pytest.fixture
def squeezenet(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    register(SQUEEZENET, made / "squeezenet.pth", monkeypatch)
    monkeypatch.setenv("AVQ_WEIGHTS_DIR", str(made))
    yield made / "squeezenet.pth"
    features.extractor.cache_clear()
    perceptual.perceptual_distance.cache_clear()


def test_gaussian_features_give_the_closed_form() -> None:
    """Whitened draws have exactly the moments that the closed form of Dowson and Landau (1982) is given."""
    draw = np.random.default_rng(0)

    def exact(mean: np.ndarray, root: np.ndarray) -> np.ndarray:
        x = draw.normal(size=(4000, len(mean)))
        x -= x.mean(0)
        x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
        return x @ root.T + mean

    size = 6
    mean = np.linspace(-1, 1, size)
    first, second = np.diag(np.linspace(0.5, 2, size)), np.diag(np.linspace(3, 1, size))
    rotation = np.linalg.qr(draw.normal(size=(size, size)))[0]  # both covariances commute, so that roots are plain
    one, two = exact(0 * mean, rotation @ first), exact(mean, rotation @ second)
    expected = mean @ mean + np.square(np.diag(first) - np.diag(second)).sum()
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-6)


def test_general_gaussians_give_the_closed_form() -> None:
    from scipy.linalg import sqrtm

    draw = np.random.default_rng(1)
    one, two = (draw.normal(size=(500, 5)) @ draw.normal(size=(5, 5)) + shift for shift in (0, 2))
    s1, s2 = np.cov(one, rowvar=False), np.cov(two, rowvar=False)
    expected = np.square(one.mean(0) - two.mean(0)).sum() + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real)
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-6)


def test_float32_features_lose_nothing_in_the_statistics() -> None:
    """A large common offset costs float32 sums their digits; the statistics here are float64."""
    draw = np.random.default_rng(2)
    one, two = (draw.integers(0, 1000, size=(3000, 4)).astype(np.float32) for _ in range(2))
    assert frechet_distance(one + 8192, two + 8192) == pytest.approx(frechet_distance(one, two), rel=1e-6)


def test_identical_sets_have_frechet_distance_zero() -> None:
    x = np.random.default_rng(3).normal(size=(2100, 64))
    assert abs(frechet_distance(x, x)) < 1e-5


@pytest.mark.parametrize("images", [50, 300])
def test_the_kernel_distance_is_the_unbiased_formula(images: int) -> None:
    draw = np.random.default_rng(4)
    x, y = draw.normal(size=(images, 16)), draw.normal(size=(images, 16)) + 0.3

    def unbiased(x: np.ndarray, y: np.ndarray) -> float:
        kernel = [(a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
        own = sum((k.sum() - np.trace(k)) / (images * (images - 1)) for k in kernel[:2])
        return float(own - 2 * kernel[2].mean())

    assert kernel_distance(x, y) == pytest.approx(unbiased(x, y), rel=1e-9)
    assert kernel_distance(x, x) == pytest.approx(unbiased(x, x), rel=1e-9)
    assert kernel_distance(x, x) < 0  # of identical sets it is not zero


def test_pairs_lower_the_kernel_distance_and_leaving_them_out_does_not() -> None:
    """Over many draws of 40 pairs (x, y): by hand, from disjoint halves, and with the bias that the docs state."""
    draw = np.random.default_rng(5)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    n, estimates, gaps = 40, [], []
    for _ in range(400):
        x = draw.normal(size=(n, 8))
        y = x + 0.3 * draw.normal(size=(n, 8)) + 0.2
        halves = kernel_distance(x[: n // 2], y[n // 2 :])
        estimates.append((unpaired_kernel_distance(x, y), halves, kernel_distance(x, y)))
        k = kernel(x, y)
        gaps.append(2 * (np.trace(k) / n - (k.sum() - np.trace(k)) / (n * (n - 1))) / n)
    unpaired, halved, paired = np.mean(estimates, 0)
    error = np.std(estimates, 0) / np.sqrt(len(estimates))
    assert abs(unpaired - halved) < 3 * np.hypot(*error[:2])
    assert unpaired - paired == pytest.approx(np.mean(gaps), rel=1e-9)
    assert unpaired - paired > 10 * error[0]
    assert error[0] < 0.7 * error[1]
    assert unpaired_kernel_distance(x, x) == pytest.approx(0, abs=1e-12)


def subject(name: str, images: int, size: int = 32) -> Subject:
    return Subject([], [], size, ReferenceSet(name * 16, images), allow_small=True)


def distances(reference: Tensor, rebuilt: Tensor, network: Extractor, batch: int = 64) -> dict[str, float]:
    metric = FeatureDistances(network, subject("r", len(reference), reference.shape[-1]))
    metric.prepare(lambda: iter(reference.split(batch)))
    for pair in zip(reference.split(batch), rebuilt.split(batch), strict=True):
        metric.update(*pair, [])
    return {row.metric: row.value for row in metric.compute() if row.value is not None}


def test_torch_fidelitys_own_command_gives_the_same(tmp_path: Path) -> None:
    """Two folders of PNG files, Inception weights drawn at random, `fidelity` in a process of its own."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        patch.setattr(torch, "load", lambda *_args, **_more: {})
        network = FeatureExtractorInceptionV3(INCEPTION, ["2048"], feature_extractor_weights_path="none")
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)
    path = tmp_path / "inception.pth"
    torch.save(network.state_dict(), path)
    original = faces(24)
    rebuilt = damaged(original)
    for name, images in (("a", original), ("b", rebuilt)):
        (tmp_path / name).mkdir()
        for index, image in enumerate(((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()):
            Image.fromarray(image).save(tmp_path / name / f"{index:03}.png")
    words = ["--input1", "a", "--input2", "b", "--fid", "--kid", "--kid-subset-size", "24", "--kid-subsets", "1"]
    settings = ["--feature-extractor-weights-path", str(path), "--cpu", "--json", "--silent", "--no-cache"]
    command = [sys.executable, "-c", "from torch_fidelity.fidelity import main; main()", *words, *settings]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    theirs = json.loads(done.stdout[done.stdout.index("{") :])
    ours = distances(original, rebuilt, Extractor(INCEPTION, path), batch=7)
    assert ours["rfid"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)
    assert ours["rkid"] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3)


@pytest.mark.parametrize("images", [24, 1300])
def test_the_kernel_distance_is_torch_fidelitys_to_the_last_digits(images: int) -> None:
    x = np.abs(np.random.default_rng(0).normal(size=(images, 16))).astype(np.float32)
    y = x + np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    subsets, size = kernel_subsets(images)
    theirs = kid_features_to_metric(
        *(torch.from_numpy(part).double() for part in (x, y)), kid_subsets=subsets, kid_subset_size=size, rng_seed=2020,
        verbose=False,
    )  # fmt: skip
    expected = theirs["kernel_inception_distance_mean"]
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-10)


def test_the_squeezenet_extractor_serves_torch_fidelity_itself(squeezenet: Path) -> None:
    import torch_fidelity

    class Bytes(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __init__(self, images: Tensor) -> None:
            self.images = ((images + 1) * 127.5).round().byte()

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> Tensor:
            return self.images[index]

    original = faces(40)
    rebuilt = damaged(original)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch_fidelity.calculate_metrics(
            input1=Bytes(original), input2=Bytes(rebuilt), fid=True, feature_extractor=SQUEEZENET, cuda=False,
            feature_extractor_weights_path=str(squeezenet), verbose=False, cache=False, save_cpu_ram=True,
        )  # fmt: skip
    ours = distances(original, rebuilt, Extractor(SQUEEZENET, squeezenet))
    assert ours["fd-squeezenet"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)


def evaluated(original: Tensor, rebuilt: Tensor, batch: int) -> dict[tuple[str, int | None], float]:
    codes = torch.arange(16).view(1, 4, 4).expand(len(original), 4, 4)
    reference = ReferenceSet("f" * 16, len(original), faces=True)
    evaluator = Evaluator(measures(Subject([16], [1], 32, reference, allow_small=True)), reference.id)
    evaluator.prepare(lambda: iter(original.split(batch)))
    for parts in zip(original.split(batch), rebuilt.split(batch), codes.split(batch), strict=True):
        evaluator.update(*parts[:2], [parts[2]])
    return {(row.metric, row.level): row.value for row in evaluator.compute() if row.value is not None}


def test_batches_of_1_7_and_64_give_the_same(squeezenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = faces(70)
    rebuilt = damaged(original)
    found = []
    for batch in (1, 7, 64):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / str(batch)))  # each computes its reference itself
        found.append(evaluated(original, rebuilt, batch))
    for name in ("lpips-squeeze", "fd-squeezenet", "kd-squeezenet", "ssim", "symmetry-excess-lpips-squeeze"):
        assert (name, None) in found[0]
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        for key, value in other.items():
            assert value == pytest.approx(found[0][key], rel=2e-5, abs=1e-7), key


def test_identical_images_are_at_no_distance(squeezenet: Path) -> None:
    images = faces(40)
    found = evaluated(images, images, 16)
    assert found["lpips-squeeze", None] == pytest.approx(0, abs=1e-7)
    assert found["ssim", None] == pytest.approx(1, abs=1e-9)
    scale = frechet_distance(*(np.random.default_rng(i).normal(size=(40, 8)) for i in (0, 1)))
    assert abs(found["fd-squeezenet", None]) < 1e-3 * scale


def by_hand(net: str, path: Path, first: Tensor, second: Tensor) -> Tensor:
    """The `lpips` package as its README shows, with the backbone's weights put in by name."""
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    tensors = torch.load(path, weights_only=True)
    for name, parameter in network.net.named_parameters():
        parameter.data.copy_(tensors["features." + name.split(".", 1)[1]])
    with torch.no_grad():
        return network(first, second).flatten()


def test_lpips_is_the_package_called_by_hand_with_made_weights(made: Path) -> None:
    original = faces(9, 64)
    rebuilt = damaged(original)
    ours = perceptual.PerceptualDistance("alex", made / "alex.pth")(original, rebuilt)
    torch.testing.assert_close(
        ours.float(), by_hand("alex", made / "alex.pth", original, rebuilt), rtol=1e-6, atol=1e-7
    )


def test_lpips_squeeze_is_the_package_called_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    path = SHARED / "squeezenet1_1_features.pth"
    if not path.is_file():
        pytest.skip(f"{path} is not here: the real SqueezeNet weights are not part of the repository")
    monkeypatch.setenv("AVQ_WEIGHTS_DIR", str(SHARED))
    original = faces(20)
    rebuilt = damaged(original)
    (metric,) = measures(Subject([], [], 32), only=["avq.metrics.lpips:squeeze"])
    for part in (slice(0, 7), slice(7, 20)):
        metric.update(original[part], rebuilt[part], [])
    expected = by_hand("squeeze", path, original, rebuilt).double().mean().item()
    (row,) = metric.compute()
    assert row.value == pytest.approx(expected, rel=1e-6)
    assert "weights=5af79736" in row.protocol  # the published backbone, by its values


@pytest.mark.parametrize("noise", [0.2, 0.002])
@pytest.mark.parametrize("side", [176, 171])
def test_ssim_and_ms_ssim_are_those_of_float64_to_1e_7(side: int, noise: float) -> None:
    """The worst for float32 are smooth images that were rebuilt well."""
    import pytorch_msssim

    from avq.metrics.structure import MultiScaleSimilarity, StructuralSimilarity

    x = (faces(4, side).double() + 1) / 2
    generator = torch.Generator().manual_seed(0)
    y = (x + noise * torch.randn(x.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    window = torch.exp(-(torch.arange(11, dtype=torch.float64) - 5).square() / 4.5)
    window = (window / window.sum()).expand(3, 1, 1, 11)
    for metric in (StructuralSimilarity(), MultiScaleSimilarity()):
        theirs = getattr(pytorch_msssim, metric.name.replace("-", "_"))
        expected = theirs(x, y, data_range=1.0, size_average=False, win=window)
        ours = metric.score(x, y, {})
        assert ours.mean().item() == pytest.approx(expected.mean().item(), abs=1e-7)
        assert ours.tolist() == pytest.approx(expected.tolist(), abs=5e-7)


def test_ssim_and_ms_ssim_agree_with_other_packages() -> None:
    from skimage.metrics import structural_similarity
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as multiscale

    from avq.metrics.structure import MultiScaleSimilarity, StructuralSimilarity

    original = faces(3, 176)
    rebuilt = damaged(original)
    x, y = ((images.double() + 1) / 2 for images in (original, rebuilt))
    one, five = StructuralSimilarity(), MultiScaleSimilarity()
    for metric in (one, five):
        metric.update(original, rebuilt, [])
    theirs = [
        structural_similarity(
            a.permute(1, 2, 0).numpy(), b.permute(1, 2, 0).numpy(), channel_axis=2, data_range=1.0,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )
        for a, b in zip(x, y, strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(one.values(), theirs, atol=5e-7)
    expected = [multiscale(a[None], b[None], data_range=1.0).item() for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(five.values(), expected, rtol=2e-3)  # theirs blurs beyond the edges and crops


def test_a_second_evaluation_computes_no_reference_feature(squeezenet: Path) -> None:
    original = faces(30, seed=9)
    network = features.extractor(SQUEEZENET, squeezenet)
    before = network.computed
    first = evaluated(original, damaged(original), 16)
    assert network.computed - before == 60  # reference and reconstruction
    second = evaluated(original, damaged(original), 16)
    assert network.computed - before == 90  # reconstruction alone
    assert second == first
    evaluated(original, damaged(original, 5), 16)
    assert network.computed - before == 120


def test_a_second_evaluation_of_a_model_computes_no_reference_feature(squeezenet: Path) -> None:
    """`evaluate` and `score` look at the reference first, once."""
    data = load_dataset(DataConfig("synthetic-faces", 16, train_images=32, validation_images=16, test_images=24))
    model = create_variant("aren-1", 16, width=4, code_dim=4, codebook_size=8)
    network = features.extractor(SQUEEZENET, squeezenet)
    counts, rows = [], []
    for _ in range(2):
        before = network.computed
        rows.append(evaluate(model, data, allow_small=True).measurements)
        counts.append(network.computed - before)
    assert counts == [48, 24]
    assert rows[0] == rows[1]
    assert any(row.metric == "kd-squeezenet" and row.value is not None for row in rows[0])


def test_who_wants_the_same_features_at_once_waits_for_the_first(
    squeezenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, network = faces(20, seed=11), features.extractor(SQUEEZENET, squeezenet)
    first, second = (FeatureDistances(network, subject("w", 20)) for _ in range(2))
    file = feature_file("w" * 16, 20, network.conditions(32))
    waits, looked = threading.Thread(target=lambda: second.prepare(lambda: iter([original]))), threading.Event()

    def load(*about: Any) -> Any:
        if threading.current_thread() is waits:
            looked.set()
        return load_features(*about)

    monkeypatch.setattr(feature_distances, "load_features", load)
    before = network.computed
    with alone(file):  # as another process that computes them
        waits.start()
        assert not looked.wait(0.3)
        save_features(file, network((((original + 1) / 2) * 255).round().to(torch.uint8)).numpy())
    waits.join(60)
    assert looked.is_set()
    assert network.computed - before == 20
    first.prepare(lambda: iter([original]))
    assert network.computed - before == 20


def test_a_cache_that_cannot_be_written_costs_time_and_not_the_result(
    squeezenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    original, network = faces(20, seed=12), features.extractor(SQUEEZENET, squeezenet)
    metric = FeatureDistances(network, subject("x", 20))
    metric.prepare(lambda: iter([original]))
    metric.update(original, damaged(original), [])
    assert {row.status for row in metric.compute()} == {"ok"}


def test_small_sets_are_refused_offered_the_kernel_distance_and_marked_on_demand(squeezenet: Path) -> None:
    original = faces(30)
    network = features.extractor(SQUEEZENET, squeezenet)
    rows = {}
    for allowed in (False, True):
        metric = FeatureDistances(network, replace(subject("s", 30), allow_small=allowed))
        metric.prepare(lambda: iter([original]))
        metric.update(original, damaged(original), [])
        rows[allowed] = {row.metric: row for row in metric.compute()}
    refused, marked = (rows[allowed]["fd-squeezenet"] for allowed in (False, True))
    assert refused.status == "n/a"
    assert "at least 2,048" in refused.reason
    assert "kd-squeezenet" in refused.reason
    assert marked.status == "ok"
    assert marked.reason.startswith("--allow-small")
    assert "subsets=1x30" in rows[False]["kd-squeezenet"].protocol
    assert "subsets=1-disjoint" in rows[False]["kd-squeezenet-unpaired"].protocol
    assert feature_distances.kernel_subsets(10_000) == (100, 1000)
    assert [disjoint_parts(images) for images in (2, 1999, 2500, 10_000)] == [1, 1, 2, 10]


def test_a_part_is_not_taken_for_the_whole(squeezenet: Path) -> None:
    original = faces(40, seed=3)
    metric = FeatureDistances(features.extractor(SQUEEZENET, squeezenet), subject("r", 40))
    metric.prepare(lambda: iter([original]))
    metric.update(original[:13], damaged(original[:13]), [])
    assert all("saw 13 of the reference's 40" in row.reason for row in metric.compute())
