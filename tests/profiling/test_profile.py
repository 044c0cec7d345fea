"""The profile of a training step: whose every operation is, and what is counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from avq.models import create_variant
from avq.profiling import profile, profile_meter
from avq.profiling.profile import OVERHEAD, Profile, _summed, profile_step
from avq.profiling.profile_meter import Meter, Peaks, Spent, kind_of
from avq.training.config import TrainConfig
from avq.training.step import TrainStep

BATCH = torch.randint(256, (4, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _known_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "measure_peaks", lambda _device: Peaks(1e12, 2e12, 1e11))


def step_of(variant: str) -> TrainStep:
    model = create_variant(variant, width=8, codebook_size=32).train()
    return TrainStep(model, TrainConfig(batch_size=4, precision="float32"), "cpu")


def test_every_flop_of_forward_and_backward_has_its_part(tmp_path: Path) -> None:
    step = step_of("aren-2-rpa-mean")
    with FlopCounterMode(display=False) as counter:
        step(BATCH, 0)
    found = profile_step(step, lambda _number: BATCH, 2, tmp_path / "trace.json")
    assert sum(spent.flops for spent in found.parts.values()) == counter.get_total_flops()
    levels = {f"{what} level {level}" for what in ("encoder", "attention", "quantizer") for level in (1, 2)}
    rest = {"decoder", "joining of levels", "data", "loss", "gradient clipping", "optimiser", OVERHEAD}
    assert set(found.parts) == levels | rest
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def test_the_backward_pass_counts_with_its_own_part() -> None:
    """A convolution costs twice as much backward as forward: gradients of its input and of its weights."""
    step = step_of("aren-2")
    counts = []
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        step.model.decoder(torch.zeros(4, 64, 8, 8))  # type: ignore[operator]
        counts.append(counter.get_total_flops())
    found = profile_step(step, lambda _number: BATCH, 2)
    assert found.parts["decoder"].flops == 3 * counts[0]
    assert found.parts["quantizer level 1"].flops == 2 * 4 * 8 * 8 * 64 * 32
    assert found.parts["optimiser"].flops == found.parts["data"].flops == 0


def test_a_discriminator_is_a_part_and_spoils_no_other() -> None:
    def parts(adversarial: str) -> dict[str, float]:
        model = create_variant("aren-1", width=8, codebook_size=32).train()
        config = TrainConfig(batch_size=4, precision="float32", adversarial=adversarial)  # type: ignore[arg-type]
        found = profile_step(TrainStep(model, config, "cpu"), lambda _number: BATCH, 2)
        return {part: spent.flops for part, spent in found.parts.items()}

    alone, against = parts("none"), parts("hinge")
    assert against.pop("discriminator") > 0
    assert against == alone


def test_a_plug_ins_model_is_parted_by_its_children() -> None:
    from torch import nn

    from avq.models import Reconstruction, Tokenizer, VectorQuantizer

    class Patches(Tokenizer):
        def __init__(self) -> None:
            super().__init__()
            self.codebook_sizes, self.decoder_levels = [16], [1]
            self.inward, self.outward = nn.Conv2d(3, 8, 4, 4), nn.ConvTranspose2d(8, 3, 4, 4)
            self.quantizer = VectorQuantizer(16, 8, ema_decay=0.99)

        def forward(self, images: torch.Tensor) -> Reconstruction:
            latents, codes, loss = self.quantizer(self.inward(images))
            return Reconstruction(self.outward(latents), [codes], {"quantizer-1": loss})

        def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
            return [self.quantizer.encode(self.inward(images))]

        def decode(self, codes: list[torch.Tensor]) -> torch.Tensor:
            return self.outward(self.quantizer.decode(codes[0]))

    found = profile_step(TrainStep(Patches().train(), TrainConfig(precision="float32"), "cpu"), lambda _n: BATCH, 2)
    assert {"inward", "quantizer", "outward"} <= set(found.parts)


def test_shares_and_the_distance_to_the_peaks() -> None:
    found = Profile(1.0, {"decoder": Spent(0.6, 0.3), OVERHEAD: Spent(0.2)}, 0.2, 0.1, Peaks(1, 1, 1), "float32")
    assert found.share("decoder") == pytest.approx(0.75)
    assert found.outside_share == pytest.approx(0.25)
    assert found.casts_share == pytest.approx(0.125)
    assert found.of_peak("decoder") == pytest.approx(0.5)
    assert found.of_peak(OVERHEAD) is None
    assert Peaks(10.0, 20.0, 5.0).seconds(40.0, 5.0, torch.bfloat16) == 2.0
    assert Peaks(10.0, 20.0, 5.0).seconds(40.0, 50.0, torch.float32) == 10.0


def test_what_lies_outside_and_what_casts_take() -> None:
    seconds = {
        ("encoder level 1", "convolutions"): 4.0, ("decoder", "casts"): 0.5, ("loss", "casts"): 0.25,
        ("decoder", "copies and the rest"): 0.125, ("quantizer level 1", "casts"): 1.0, ("optimiser", "casts"): 1.0,
    }  # fmt: skip
    found = _summed([{key: Spent(value) for key, value in seconds.items()}], 8.0, Peaks(1, 1, 1), "bfloat16")
    between = 8.0 - sum(seconds.values())
    assert found.casts == 0.5  # of encoder and decoder alone
    assert found.outside == 0.25 + 0.125 + between
    assert found.parts[OVERHEAD].seconds == between


def test_in_bfloat16_casts_and_bias_gradients_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    step = TrainStep(create_variant("aren-1", width=8).train(), TrainConfig(precision="bfloat16"), "cpu")

    def decoder() -> dict[str, Spent]:
        meter = Meter(step, Peaks(1, 1, 1))
        with meter.watching():
            step(BATCH, 0)
        return {kind: spent for (part, kind), spent in meter.spent.items() if part == "decoder"}

    found = decoder()
    assert found["casts"].seconds > 0
    monkeypatch.setattr(profile_meter, "_in_bias_gradient", lambda: False)
    assert decoder()["convolutions"].bytes < found["convolutions"].bytes


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("convolution_backward", "convolutions"),
        ("relu_", "activations and sums"),
        ("_to_copy", "casts"),
        ("cat", "copies and the rest"),
    ],
)
def test_kinds_of_operations(operation: str, kind: str) -> None:
    assert kind_of(operation) == kind
