"""Level knock-out: replaced where the codes are used, and what else the evaluation measures beside the metrics."""

from __future__ import annotations

import pytest
import torch

from avq.data.loader import to_model
from avq.data.sources import Dataset
from avq.evaluation.evaluate import evaluate
from avq.evaluation.knockout import measure
from avq.evaluation.passed import Passed
from avq.metrics.measurement import Measurement
from avq.models import create_variant
from avq.models.tokenizer import Tokenizer

SMALL = {"width": 8, "codebook_size": 16}


@torch.no_grad()
def knocked_out(model: Tokenizer, faces: Dataset, commonest: list[int], level: int) -> Measurement:
    """`knockout-mae` of a level, of a model that has seen the test images."""
    images = to_model(faces.test.images)
    done = model(images)
    errors = {"mae": ((done.images.clamp(-1, 1) - images) / 2).double().abs().flatten(1).mean(1).numpy()}
    passed = Passed(model, faces, "test", "cpu", "float32", [], errors, done.codes, commonest)
    rows = measure(passed)
    return next(row for row in rows if (row.metric, row.level) == ("knockout-mae", level))


@pytest.mark.parametrize("variant", ["vqvae2", "patch-kmeans", "aren-1"])
def test_a_level_that_the_decoder_sees_is_replaced_before_it(faces: Dataset, variant: str) -> None:
    torch.manual_seed(0)
    model = create_variant(variant, 16, codebook_size=16).eval()
    if variant == "patch-kmeans":
        model.fit(faces.train.images, 0)
    images = to_model(faces.test.images)
    level = len(model.codebook_sizes)
    with torch.no_grad():
        codes = model.encode(images)
        whole = model(images).images
        without = model.decode([*codes[:-1], torch.full_like(codes[-1], 3)])
        change = (without.clamp(-1, 1) - images).abs().mean() - (whole.clamp(-1, 1) - images).abs().mean()
    row = knocked_out(model, faces, [[5], [3]][-level:] if level > 1 else [[3]], level)
    assert row.value == pytest.approx(change.item() / 2, rel=1e-3, abs=1e-7)
    assert row.value != 0
    assert row.reason == ""
    assert row.n == 24


def test_a_level_below_the_top_is_encoded_anew(faces: Dataset) -> None:
    """The bottom's codes depend on the top's, which the decoder does not see: amplified, the knock-out shows it."""
    torch.manual_seed(0)
    model = create_variant("aren-2", 16, **SMALL).eval()
    with torch.no_grad():
        model.initialise_codebooks(to_model(faces.train.images))
        model.eval()
        model.projections[0].weight[:, SMALL["width"] :] *= 50  # what comes from above decides
        commonest = [[int(codes.flatten().mode().values)] for codes in model.encode(to_model(faces.test.images))]
    row = knocked_out(model, faces, commonest, 2)
    assert row.value != 0
    assert "encoded anew" in row.reason
    assert not model.quantizers[1]._forward_hooks
    with torch.no_grad():
        model.projections[0].weight[:, SMALL["width"] :] = 0  # nothing comes from above
    assert knocked_out(model, faces, commonest, 2).value == pytest.approx(0, abs=1e-9)


def test_the_gap_between_test_and_training_images(faces: Dataset) -> None:
    torch.manual_seed(0)
    model = create_variant("aren-1", 16, **SMALL)
    rows = {(row.metric, row.level): row for row in evaluate(model, faces).measurements}
    images = to_model(faces.train.images)
    with torch.no_grad():
        train = (model(images).images.clamp(-1, 1) - images).double().abs().mean().item() / 2
    assert rows["mae-gap", None].value == pytest.approx(rows["mae", None].value - train, abs=1e-7)
    assert "mae-gap" not in {row.metric for row in evaluate(model, faces, "validation").measurements}
    assert rows["knockout-mae", 1].protocol.endswith("n=24")


def test_symmetry_is_measured_on_faces_alone(faces: Dataset) -> None:
    from dataclasses import replace

    model = create_variant("aren-1", 16, **SMALL)
    names = {row.metric for row in evaluate(model, faces).measurements}
    assert "symmetry-gap" in names
    rooms = replace(faces, card=faces.card.model_copy(update={"kind": "folder"}))
    assert "symmetry-gap" not in {row.metric for row in evaluate(model, rooms).measurements}
