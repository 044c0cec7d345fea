"""The transformer: causal, the same step by step as at once, and what its equations say."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
from made_codes import ROW, SMALL, UNEVEN, lively_prior, some_codes
from numpy.typing import NDArray

from avq.errors import UsageError
from avq.priors.config import PriorConfig
from avq.priors.transformer import Cache, Prior, fresh_prior


@pytest.mark.parametrize("classes", [0, 3])
def test_step_by_step_is_the_same_as_at_once(classes: int) -> None:
    prior, sequences = lively_prior(UNEVEN, classes), some_codes(UNEVEN, 6)
    labels = torch.arange(6) % 3 if classes else None
    with torch.no_grad():
        whole = prior(sequences, labels).log_softmax(-1)
        cache = Cache(prior, 6)
        steps = [prior(sequences[:, :place], labels, cache) for place in range(UNEVEN.length)]
        begun = Cache(prior, 6)
        after_five = [prior(sequences[:, :5], labels, begun), prior(sequences[:, :6], labels, begun)]
    one_by_one = torch.cat(steps, 1).log_softmax(-1)
    assert whole.shape == (6, UNEVEN.length, 16)
    assert torch.isneginf(whole[:, :4, 5:]).all()  # the upper level's K is 5
    assert torch.isfinite(whole[:, 4:]).all()
    assert (whole.exp() - one_by_one.exp()).abs().max() < 1e-5
    assert torch.allclose(whole, one_by_one, atol=1e-4, rtol=0)
    assert torch.allclose(whole[:, :7], torch.cat(after_five, 1).log_softmax(-1), atol=1e-4, rtol=0)
    assert (
        prior.log_probabilities(sequences, labels) - whole.gather(-1, sequences[..., None])[..., 0]
    ).abs().max() == 0


def test_later_codes_change_no_earlier_logit() -> None:
    prior, sequences = lively_prior(UNEVEN), some_codes(UNEVEN, 1)
    for place in range(UNEVEN.length - 1):
        other = sequences.clone()
        other[:, place] = (other[:, place] + 1) % 5
        with torch.no_grad():
            change = (prior(other) - prior(sequences)).nan_to_num().abs().amax((0, 2))
        assert (change[: place + 1] == 0).all()
        assert (change[place + 1 :] > 0).all()


def test_settings_that_do_not_fit_and_the_same_weights_for_a_seed() -> None:
    with pytest.raises(UsageError, match="prior_heads=5 does not divide prior_width=96"):
        PriorConfig(prior_heads=5)
    with pytest.raises(UsageError, match="prior_layers must be at least 1, not 0"):
        PriorConfig(prior_layers=0)
    one, same, other = (fresh_prior(UNEVEN, SMALL, seed) for seed in (1, 1, 2))
    assert torch.equal(one.heads[0].weight, same.heads[0].weight)
    assert not torch.equal(one.heads[0].weight, other.heads[0].weight)


def plain(prior: Prior, sequence: NDArray[np.int64]) -> NDArray[np.float64]:
    """log p of one sequence's codes `[T]`: GPT-2's equations, in float64 and one place at a time."""
    w = {name: tensor.double().numpy() for name, tensor in prior.state_dict().items()}
    heads, width = prior.config.prior_heads, prior.config.prior_width
    places, sizes = prior.layout.places().numpy(), prior.layout.codebook_sizes().tolist()
    # The codes of each level and depth in one row: 16 of the bottom level, 5 of each depth of the upper
    first = [{(0, 0): 0, (1, 0): 16, (1, 1): 21}[level, depth] for level, _, _, depth in places.tolist()]

    def norm(x: Any, name: str) -> Any:
        return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: Any, name: str) -> Any:
        return w[f"{name}.weight"] @ x + w[f"{name}.bias"]

    def gelu(x: Any) -> Any:
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    found, past = [], [[] for _ in prior.blocks]
    for t, size in enumerate(sizes):
        x = w["start.weight"][0] if t == 0 else w["code.weight"][first[t - 1] + sequence[t - 1]]
        x = x + sum(w[f"place.{axis}.weight"][places[t, axis]] for axis in range(4))
        for block in range(len(prior.blocks)):
            name = f"blocks.{block}"
            q, k, v = linear(norm(x, f"{name}.attention_norm"), f"{name}.qkv").reshape(3, heads, -1)
            past[block].append((k, v))
            out = []
            for head in range(heads):
                scores = np.array([q[head] @ keys[head] for keys, _ in past[block]]) / np.sqrt(width / heads)
                weights = np.exp(scores - scores.max())
                values = np.array([values[head] for _, values in past[block]])
                out.append(weights / weights.sum() @ values)
            x = x + linear(np.concatenate(out), f"{name}.project")
            x = x + linear(gelu(linear(norm(x, f"{name}.mlp_norm"), f"{name}.expand")), f"{name}.reduce")
        logits = w[f"heads.{(0, 16, 21).index(first[t])}.weight"] @ norm(x, "norm")
        assert len(logits) == size
        found.append(logits[sequence[t]] - np.log(np.exp(logits).sum()))
    return np.array(found)


def test_log_probabilities_are_those_of_the_equations() -> None:
    prior, sequences = lively_prior(UNEVEN), some_codes(UNEVEN, 3)
    with torch.no_grad():
        ours = prior.log_probabilities(sequences).numpy()
    theirs = np.stack([plain(prior, sequence) for sequence in sequences.numpy()])
    assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is not installed")
@pytest.mark.filterwarnings("ignore")
def test_log_probabilities_are_those_of_gpt2_of_transformers() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    prior, sequences = lively_prior(ROW), some_codes(ROW, 3)  # one vocabulary, as theirs
    size = prior.config
    peer = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=4, n_positions=ROW.length, n_embd=size.prior_width, n_layer=size.prior_layers,
            n_head=size.prior_heads, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, tie_word_embeddings=False,
        )
    ).eval()  # fmt: skip
    names = {"ln_1": "attention_norm", "attn.c_attn": "qkv", "attn.c_proj": "project", "ln_2": "mlp_norm",
             "mlp.c_fc": "expand", "mlp.c_proj": "reduce"}  # fmt: skip
    own = prior.state_dict()
    state = {"transformer.wte.weight": own["code.weight"], "lm_head.weight": own["heads.0.weight"]}
    state["transformer.wpe.weight"] = sum(prior.place[axis].weight[prior.places[:, axis]] for axis in range(4))
    state |= {f"transformer.ln_f.{part}": own[f"norm.{part}"] for part in ("weight", "bias")}
    for block in range(size.prior_layers):
        for theirs, ours in names.items():
            weight = own[f"blocks.{block}.{ours}.weight"]  # which their Conv1D has transposed
            state[f"transformer.h.{block}.{theirs}.weight"] = weight.T if weight.ndim == 2 else weight
            state[f"transformer.h.{block}.{theirs}.bias"] = own[f"blocks.{block}.{ours}.bias"]
    peer.load_state_dict(state)
    with torch.no_grad():
        inputs = torch.cat([prior.start.weight[0].expand(3, 1, -1), prior.code(sequences[:, :-1])], 1)
        theirs = peer(inputs_embeds=inputs).logits.log_softmax(-1).gather(-1, sequences[..., None])[..., 0]
        assert torch.allclose(prior.log_probabilities(sequences), theirs, atol=1e-4, rtol=0)
