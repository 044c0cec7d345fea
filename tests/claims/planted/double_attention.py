"""A planted mistake: what attention adds to a pixel is scaled by 2."""

from avq.models.attention import ResidualPixelAttention

_parts = ResidualPixelAttention._parts


def doubled(self, x):
    base, update = _parts(self, x)
    return base, 2 * update


ResidualPixelAttention._parts = doubled
