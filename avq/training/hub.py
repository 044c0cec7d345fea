"""Tokenizers in the Hugging Face convention: a folder, or a repository, with `config.json` and `model.safetensors`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelHubMixin, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import Tensor, nn

from avq.errors import UsageError
from avq.models.recipe import Recipe, build
from avq.models.tokenizer import Level, Reconstruction, Tokenizer
from avq.training.checkpoint import PRETRAINED_FILE, load_model, save_model

_CARD = """---
{{ card_data }}
---

An image tokenizer trained with avq-bench. Images are `[B, 3, H, W]` in [-1, 1]; codes are listed bottom level first.

```python
import avq

tokenizer = avq.PretrainedTokenizer.from_pretrained("{{ model_id | default("this folder or repository", true) }}")
codes = tokenizer.encode(images)
images = tokenizer.decode(codes)
```
"""


class PretrainedTokenizer(
    Tokenizer,
    ModelHubMixin,
    library_name="avq-bench",
    pipeline_tag="image-feature-extraction",
    tags=["vq-vae", "image-tokenizer"],
    model_card_template=_CARD,
):
    """A variant of the zoo with `save_pretrained`, `from_pretrained` and `push_to_hub`; arguments as `Recipe`.

    The weights are a safetensors file that `avq.load_model` reads too; nothing is ever unpickled.
    """

    def __init__(self, variant: str, image_size: int, config: dict[str, Any], factory: str | None = None) -> None:
        super().__init__()
        self._take(build(Recipe(variant, image_size, config, factory)))

    @classmethod
    def of(cls, model: Tokenizer) -> PretrainedTokenizer:
        """The same model with these methods; UsageError for one that avq did not build."""
        if model.recipe is None:
            raise UsageError("only a tokenizer that avq built (create_variant, load_model) can be built again.")
        with torch.device("meta"):  # so that no weights are drawn in vain
            wrapper = cls(**model.recipe._asdict())
        wrapper._take(model)
        return wrapper.train(model.training)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> PretrainedTokenizer:
        """A tokenizer in eval mode from a folder that `save_pretrained` wrote, or from a repository of the hub.

        Args:
            pretrained_model_name_or_path: the folder, or `owner/name`.
            **options: those of `huggingface_hub.ModelHubMixin.from_pretrained` (`revision`, `local_files_only` ...).

        Raises:
            UsageError: no tokenizer is there, or its file is damaged or of another version.
        """
        try:
            return super().from_pretrained(pretrained_model_name_or_path, **options)
        except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UsageError(f"no tokenizer at '{pretrained_model_name_or_path}': {reason}") from error

    def _take(self, model: Tokenizer) -> None:
        self.model, self.recipe = model, model.recipe
        self.codebook_sizes, self.decoder_levels = model.codebook_sizes, model.decoder_levels
        self.codes_per_position = model.codes_per_position

    def forward(self, images: Tensor) -> Reconstruction:
        result: Reconstruction = self.model(images)
        return result

    def encode(self, images: Tensor) -> list[Tensor]:
        return self.model.encode(images)

    def decode(self, codes: list[Tensor]) -> Tensor:
        return self.model.decode(codes)

    def latent_sizes(self, image_size: int) -> list[tuple[int, int]]:
        return self.model.latent_sizes(image_size)

    def find_levels(self) -> list[Level]:
        return self.model.find_levels()

    def find_parts(self) -> dict[nn.Module, str]:
        return self.model.find_parts()

    def find_last_weight(self) -> Tensor | None:
        return self.model.find_last_weight()

    def backbone(self, images: Tensor) -> list[Tensor]:
        return self.model.backbone(images)

    def initialise_codebooks(self, images: Tensor) -> None:
        self.model.initialise_codebooks(images)

    def _save_pretrained(self, save_directory: Path) -> None:
        save_model(self.model, save_directory / PRETRAINED_FILE)

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, revision: str | None, cache_dir: str | Path | None, force_download: bool,
        local_files_only: bool, token: str | bool | None, **_config: Any,
    ) -> PretrainedTokenizer:  # fmt: skip
        """All that is needed is in the file of the weights; `config.json` is for people and for the hub."""
        if Path(model_id).is_dir():
            return cls.of(load_model(model_id))
        file = hf_hub_download(
            model_id, PRETRAINED_FILE, revision=revision, cache_dir=cache_dir, force_download=force_download,
            local_files_only=local_files_only, token=token,
        )  # fmt: skip
        return cls.of(load_model(file))
