"""A prior comes back from its file; what is none is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from made_codes import UNEVEN, lively_prior, some_codes

from avq.errors import UsageError
from avq.priors.saved import PRIOR_FILE, load_prior, save_prior
from avq.training.checkpoint import write_tensors


def test_a_prior_comes_back_with_what_was_said_of_it(tmp_path: Path) -> None:
    prior, codes, labels = lively_prior(UNEVEN, classes=2), some_codes(UNEVEN, 4), torch.tensor([0, 1, 1, 0])
    save_prior(prior, tmp_path / PRIOR_FILE, tokenizer="abc")
    for path in (tmp_path, tmp_path / PRIOR_FILE):
        again, about = load_prior(path)
        assert about == {"tokenizer": "abc"}
        assert torch.equal(prior.log_probabilities(codes, labels), again.log_probabilities(codes, labels))


def test_what_is_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / PRIOR_FILE
    with pytest.raises(UsageError, match=r"no checkpoint at .*prior\.safetensors"):
        load_prior(tmp_path)
    write_tensors(file, {}, {"variant": "aren-1"})
    with pytest.raises(UsageError, match="does not hold a prior"):
        load_prior(file)
    save_prior(lively_prior(UNEVEN), file)
    whole = file.read_bytes()
    file.write_bytes(whole[:-8] + bytes(8))
    with pytest.raises(UsageError, match="is damaged"):
        load_prior(file)
