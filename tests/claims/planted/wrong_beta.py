"""A planted mistake: beta stands on the term that moves the codebook, so nothing holds the encoder to its codes."""

from torch.nn import functional as F

from avq.models.quantizers import vq


def wrong_loss(latents, chosen, reduction="mean"):
    return F.mse_loss(latents.detach(), chosen, reduction=reduction)


class _Swapped:
    mse_loss = staticmethod(wrong_loss)
    embedding = staticmethod(F.embedding)


vq.F = _Swapped
