"""Pictures, one family a file. Each is a `Picture`: a figure, and the words that stand for it."""

from avq.reporting.figures.effects import contrast_intervals, values_by_axis, values_by_row
from avq.reporting.figures.grids import error_grid, reconstruction_grid
from avq.reporting.figures.scaling import attention_scaling
from avq.reporting.figures.style import Picture
from avq.reporting.figures.tradeoffs import pareto, rate_distortion
from avq.reporting.figures.training import codebook_usage, validation_curves

__all__ = [
    "Picture",
    "attention_scaling",
    "codebook_usage",
    "contrast_intervals",
    "error_grid",
    "pareto",
    "rate_distortion",
    "reconstruction_grid",
    "validation_curves",
    "values_by_axis",
    "values_by_row",
]
