"""How a synthetic face looks: palettes, proportions, the range of each choice, and the order of the layers.

Lengths are in units of the picture's side. ``p`` is the distance from the head's axis (so everything drawn in it is
symmetric), ``q`` the height below the head's middle, both divided by the head's scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avq.data.drawing import Array, Number, blend, ellipse, mix, ramp, stripes

Window = tuple[slice, slice]
Choice = NDArray[np.int64]
Draw = dict[str, Callable[[NDArray[np.float64]], Any]]

SMALLEST = 16
PATTERNS = 6
STYLES = 6
PERIODS = (0.125, 0.16, 0.22)
_GAP = 0.13  # between the two panels
# Even on the smallest head the irises are an eighth of the picture apart: see `avq.data.synthetic`.
_EYE, _IRIS_RADIUS = 0.113, 0.045


def _palette(*colours: str) -> Array:
    """Hexadecimal colours as float32 ``[K, 3]`` in [0, 1]."""
    return np.array([[int(c[i : i + 2], 16) / 255 for i in (0, 2, 4)] for c in colours], np.float32)


IRIS = _palette("2f7fe0", "2fae5a", "7a4a22", "e0a020", "8a4fd0", "d8486a")
SKIN = _palette("fbdcc4", "f2c6a0", "e3ac7f", "c98d5e", "a46a41", "7d4c2d", "5b3722")
HAIR = _palette("1d1a1c", "3b2417", "6b4023", "a8692f", "d9b062", "b5432a", "8f8f96", "4a3a66")
CLOTHES = _palette("c8443c", "2f6db5", "2f8f6b", "e0a43a", "6a4c93", "34495e", "d9d4c7", "e07a5f", "3d405b", "81b29a")
PANEL_COLOURS = np.stack(
    [
        _palette("cfe3f2", "f6d9cf", "d8ecd6", "f7e9b8", "e4daf0", "d5eeee", "f3d3df", "e6e2d8"),
        _palette("7fb0d8", "e39a80", "86bf85", "e6bd4f", "a98fce", "6dbcbc", "d883a3", "ada593"),
    ],
    axis=1,
)
_LIPS, _DARK, _WALL = _palette("b8404a"), _palette("221c20"), _palette("f4efe6")


def _choice(options: int) -> Draw:
    """Draw one of so many options: int64 ``[N]``."""
    return {"draw": lambda random: (random * options).astype(np.int64)}


def _number(low: float, high: float) -> Draw:
    """Draw evenly between two bounds: float32 ``[N, 1, 1, 1]``."""
    return {"draw": lambda random: np.asarray(low + (high - low) * random, np.float32)[:, None, None, None]}


@dataclass(frozen=True)
class Panel:
    """Half of the background of each picture; fields in the order in which they are drawn."""

    kind: Choice = field(metadata=_choice(PATTERNS))
    palette: Choice = field(metadata=_choice(len(PANEL_COLOURS)))
    period: Choice = field(metadata=_choice(len(PERIODS)))
    across: Array = field(metadata=_number(0, 1))
    down: Array = field(metadata=_number(0, 1))
    light: Array = field(metadata=_number(-0.05, 0.05))


@dataclass(frozen=True)
class Look:
    """What each picture shows; fields from `wall` on in the order in which they are drawn."""

    first_iris: Choice
    second_iris: Choice
    left: Panel
    right: Panel
    wall: Array = field(metadata=_number(0.86, 0.97))
    x: Array = field(metadata=_number(-0.03, 0.03))
    y: Array = field(metadata=_number(-0.02, 0.03))
    scale: Array = field(metadata=_number(0.92, 1.1))
    skin: Array = field(metadata=_number(0, len(SKIN) - 1))
    skin_light: Array = field(metadata=_number(0.95, 1.03))
    hair: Choice = field(metadata=_choice(len(HAIR)))
    hair_light: Array = field(metadata=_number(0.85, 1.15))
    style: Choice = field(metadata=_choice(STYLES))
    hairline: Array = field(metadata=_number(-0.025, 0.045))
    volume: Array = field(metadata=_number(0.0, 0.04))
    clothes: Choice = field(metadata=_choice(len(CLOTHES)))
    clothes_light: Array = field(metadata=_number(0.85, 1.1))
    collar: Choice = field(metadata=_choice(3))
    width: Array = field(metadata=_number(0.205, 0.24))
    height: Array = field(metadata=_number(0.265, 0.30))
    brow_height: Array = field(metadata=_number(0.0, 0.022))
    brow_tilt: Array = field(metadata=_number(-0.12, 0.2))
    nose: Array = field(metadata=_number(0.7, 1.3))
    smile: Array = field(metadata=_number(-0.1, 1.0))
    lips: Array = field(metadata=_number(0.75, 1.3))
    mouth: Array = field(metadata=_number(0.075, 0.115))
    teeth: Choice = field(metadata=_choice(3))
    blush: Array = field(metadata=_number(0.0, 0.45))
    beard: Choice = field(metadata=_choice(5))


class _Easel:
    """The canvas ``[N, 3, H, W]`` and the head's coordinates on it."""

    def __init__(self, look: Look, size: int) -> None:
        grid = (np.arange(size, dtype=np.float32) + 0.5) / size
        self.size, self.look = size, look
        self.canvas = np.empty((len(look.style), 3, size, size), np.float32)
        self.x = (grid[None, None, None, :] - (0.5 + look.x)) / look.scale
        self.p = np.abs(self.x)
        self.q = (grid[None, None, :, None] - (0.52 + look.y)) / look.scale
        self.pixel = 1 / size / look.scale
        self._largest = float(look.scale.max())

    def window(self, reach: float, top: float, bottom: float) -> Window:
        """Rows and columns that contain all of ``p < reach``, ``top < q < bottom`` in every picture."""
        look, edge = self.look, 2 / self.size
        middle_x, middle_y = 0.5 + look.x, 0.52 + look.y
        rows = (middle_y + look.scale * top).min() - edge, (middle_y + look.scale * bottom).max() + edge
        columns = middle_x.min() - self._largest * reach - edge, middle_x.max() + self._largest * reach + edge
        return self._slice(*rows), self._slice(*columns)

    def _slice(self, low: float, high: float) -> slice:
        return slice(max(0, int(low * self.size)), min(self.size, int(high * self.size) + 1))

    def within(self, place: Window) -> tuple[Array, Array]:
        """``p`` and ``q`` within a window."""
        return self.p[..., place[1]], self.q[:, :, place[0]]

    def oval(self, place: Window, p: Number, q: Number, a: Number, b: Number) -> Array:
        """Coverage of an ellipse (of a pair of them, where ``p`` is not 0) within a window."""
        u, v = self.within(place)
        return ellipse(u - np.asarray(p, np.float32), v - np.asarray(q, np.float32), a, b, self.pixel)

    def lay(self, place: Window, coverage: Array, colour: Array) -> None:
        blend(self.canvas[:, :, place[0], place[1]], coverage, colour)


def paint(look: Look, size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The pictures, uint8 ``[N, size, size, 3]``, and the mask of the second iris, bool ``[N, size, size]``."""
    easel = _Easel(look, size)
    _background(easel)
    tone = _tone(look)
    hair = _column(HAIR[look.hair]) * look.hair_light
    _body(easel, tone, hair)
    _head(easel, tone, hair)
    mask = _eyes(easel)
    _features(easel, tone, hair)
    pixels = easel.canvas * 255
    pixels += 0.5
    np.clip(pixels, 0, 255, out=pixels)
    return np.ascontiguousarray(pixels.astype(np.uint8).transpose(0, 2, 3, 1)), mask


def _column(colours: Array) -> Array:
    return colours[:, :, None, None]


def _chosen(flags: NDArray[np.bool_]) -> Array:
    return flags.astype(np.float32)[:, None, None, None]


def _tone(look: Look) -> Array:
    low = np.minimum(look.skin.astype(np.int64), len(SKIN) - 2)
    share = look.skin - low.astype(np.float32)
    low = low[:, 0, 0, 0]
    return mix(_column(SKIN[low]), _column(SKIN[low + 1]), share) * look.skin_light


def _background(easel: _Easel) -> None:
    """The wall, and a panel in each half; the left one is drawn as a mirror image."""
    easel.canvas[:] = easel.look.wall * _column(_WALL)
    half = easel.size - easel.size // 2
    _panel(easel.canvas[..., -half:], easel.look.right)
    _panel(easel.canvas[..., ::-1][..., -half:], easel.look.left)


def _panel(canvas: Array, panel: Panel) -> None:
    size, width = canvas.shape[2:]
    step = 1 / size
    grid = (np.arange(size, dtype=np.float32) + 0.5) * step
    # Distance from the panel's inner edge, and height.
    m, y = (grid[size - width :] - (0.5 + _GAP / 2))[None, None, None, :], grid[None, None, :, None]
    period = np.asarray(PERIODS, np.float32)[panel.period][:, None, None, None]
    across, down = m + panel.across * period, y + panel.down * period
    share = np.empty((len(canvas), 1, size, width), np.float32)
    for kind in range(PATTERNS):
        at = np.flatnonzero(panel.kind == kind)
        if len(at):
            share[at] = _pattern(kind, across[at], down[at], period[at], step)
    colours = PANEL_COLOURS[panel.palette]
    pattern = mix(_column(colours[:, 0]), _column(colours[:, 1]), share)
    pattern += panel.light
    blend(canvas, ramp(-m, step), pattern)


def _pattern(kind: int, x: Array, y: Array, period: Array, step: float) -> Array:
    """Share of the second colour: stripes down, across and in both diagonals, checks, dots."""
    if kind == 0:
        return stripes(x, period, step)
    if kind == 1:
        return stripes(y, period, step)
    if kind in (2, 3):
        return stripes(x + y if kind == 2 else x - y, period * 1.25, step * 1.25)
    if kind == 4:
        first, second = stripes(x, period, step), stripes(y, period, step)
        return first + second - 2 * first * second
    u, v = x / period, y / period
    u, v = (u - np.floor(u) - 0.5) * period, (v - np.floor(v) - 0.5) * period
    return ellipse(u, v, period * 0.32, period * 0.32, step)


def _body(easel: _Easel, tone: Array, hair: Array) -> None:
    """Long hair behind everything, shoulders, neck."""
    look = easel.look
    back = easel.window(0.34, -0.4, 0.5)
    long = _chosen(look.style >= 4)
    locks = np.maximum(
        easel.oval(back, 0.0, -0.02, look.width + look.volume + 0.05, 0.37),
        easel.oval(back, 0.13, 0.2, 0.12, 0.24 + look.volume),
    )
    easel.lay(back, locks * long, hair * 0.82)
    low = easel.window(0.5, 0.24, 0.7)
    clothes = _column(CLOTHES[look.clothes]) * look.clothes_light
    easel.lay(low, easel.oval(low, 0.0, 0.62, 0.40, 0.29), clothes)
    collar = _chosen(look.collar > 0)
    easel.lay(low, easel.oval(low, 0.0, 0.34, 0.15, 0.085) * collar, clothes * 0.78)
    easel.lay(low, easel.oval(low, 0.0, 0.33, 0.115, 0.075), tone * 0.86)
    neck = easel.window(0.1, 0.1, 0.4)
    easel.lay(neck, easel.oval(neck, 0.0, 0.24, 0.085, 0.14), tone * 0.80)


def _head(easel: _Easel, tone: Array, hair: Array) -> None:
    """Ears, the face with its shading, and the hair over it."""
    look = easel.look
    place = easel.window(0.34, -0.42, 0.34)
    p, q = easel.within(place)
    ears = easel.window(0.31, -0.06, 0.12)
    easel.lay(ears, easel.oval(ears, look.width, 0.035, 0.04, 0.06), tone * 0.88)
    crown = easel.oval(place, 0.0, -0.075, look.width + 0.025 + look.volume, 0.255 + look.volume)
    covered = _chosen(look.style != 0)
    easel.lay(place, crown * covered * ramp(q - 0.04, 0.08), hair)
    face = easel.oval(place, 0.0, 0.0, look.width, look.height)
    u, v = p / look.width, q / look.height
    shade = 1.03 - (0.13 * u * u + 0.06 * v * v)
    easel.lay(place, face, tone * shade)
    # Hair shows above the hairline: the part of the crown that the brow's own oval leaves free.
    brow = easel.oval(place, 0.0, 0.12 + look.hairline, look.width - 0.012, 0.26)
    parted = easel.oval(place, 0.10, 0.07 + look.hairline, 0.125, 0.215)
    open_brow = mix(brow, parted, _chosen((look.style == 2) | (look.style == 4)))
    gloss = 1.12 - 0.9 * (q + 0.2) ** 2 - 0.25 * u * u
    fringe = crown * (1 - open_brow) * ramp(q + 0.02, 0.05)
    easel.lay(place, fringe * covered, hair * gloss)


def _eyes(easel: _Easel) -> NDArray[np.bool_]:
    """Eyes, each iris in its own colour; returns the mask of the second one."""
    look = easel.look
    place = easel.window(0.21, -0.07, 0.09)
    rows, columns = place
    white = np.ones((1, 3, 1, 1), np.float32)
    dark = _column(_DARK)
    opening = easel.oval(place, _EYE, 0.008, 0.067, 0.049)
    easel.lay(place, easel.oval(place, _EYE, 0.001, 0.073, 0.057), dark * 1.4)
    easel.lay(place, opening, white)
    iris = np.minimum(easel.oval(place, _EYE, 0.006, _IRIS_RADIUS, _IRIS_RADIUS), opening)
    right = easel.x[..., columns] > 0
    colour = np.where(right, _column(IRIS[look.second_iris]), _column(IRIS[look.first_iris]))
    easel.lay(place, iris, colour)
    easel.lay(place, easel.oval(place, _EYE, 0.006, 0.019, 0.019), dark)
    easel.lay(place, easel.oval(place, _EYE - 0.01, -0.011, 0.011, 0.011), white)
    mask = np.zeros((len(look.style), easel.size, easel.size), np.bool_)
    mask[:, rows, columns] = ((iris >= 0.25) & right)[:, 0]
    return mask


def _features(easel: _Easel, tone: Array, hair: Array) -> None:
    """Brows, nose, blush, beard, mouth."""
    look = easel.look
    place = easel.window(0.21, -0.18, -0.02)
    p, q = easel.within(place)
    aside = p - _EYE
    arch = q + (0.092 + look.brow_height) - look.brow_tilt * aside + 6 * aside**2 - 0.01
    thickness = 0.017 - 2.4 * aside**2
    easel.lay(place, ramp(np.abs(arch) - thickness, easel.pixel), np.minimum(hair, tone * 0.7))
    place = easel.window(0.06, 0.0, 0.12)  # nostrils, then the bridge
    easel.lay(place, easel.oval(place, 0.0, 0.082, 0.034 * look.nose, 0.022), tone * 0.80)
    easel.lay(place, easel.oval(place, 0.0, 0.06, 0.02 * look.nose, 0.034), tone * 1.03)
    place = easel.window(0.2, 0.05, 0.16)
    blush = easel.oval(place, 0.135, 0.105, 0.042, 0.028) * look.blush
    easel.lay(place, blush, mix(tone, _column(_LIPS), 0.5))
    place = easel.window(0.17, 0.08, 0.31)
    p, q = easel.within(place)
    chin = easel.oval(place, 0.0, 0.19, 0.135, 0.10) * easel.oval(place, 0.0, 0.0, look.width, look.height)
    easel.lay(place, chin * _chosen(look.beard == 0), hair)
    w = p / look.mouth
    bow = q - 0.175 - look.smile * 0.05 * (0.5 - w * w)
    half = 0.019 * look.lips * (1 - w * w)
    lips = mix(_column(_LIPS), tone * 0.62, 0.35)
    easel.lay(place, ramp(np.abs(bow) - half, easel.pixel), lips)
    teeth = ramp(np.abs(bow) - (half - 0.012), easel.pixel) * _chosen(look.teeth == 0)
    easel.lay(place, teeth, np.full((1, 3, 1, 1), 0.97, np.float32))
