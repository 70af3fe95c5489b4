"""Anyres arithmetic without the model: how a picture is cut into views and how many tokens it becomes.

LLaVA-NeXT shows the vision tower one base view (the whole picture squeezed into one tile) and the tiles of a grid
whose resolution fits the picture best. The grid's features are laid out as one map, rows and columns that are only
padding are cut off ("spatial_unpad"), and every remaining row ends with a newline token.

All numbers equal `LlavaNextImageProcessorPil`, `LlavaNextProcessor` and `LlavaNextModel` of transformers for every
size. The original LLaVA code truncates where transformers rounds to 7 digits first: one of 35,209 scanned sizes
(328x205) differs by two rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mmevol_core.errors import UserError

if TYPE_CHECKING:
    from mmevol_train.parts import BackboneConfig

Pinpoints = Sequence[tuple[int, int]]  # (height, width) pairs, pixels, as transformers reads them


@dataclass(frozen=True, slots=True)
class Grid:
    """How one picture is seen. Sizes in pixels, rows and columns in patches of the unpadded grid."""

    width: int
    height: int
    best_resolution: tuple[int, int]  # (height, width)
    views: int  # base view + tiles
    rows: int
    columns: int
    tokens: int  # base + rows * (columns + 1)


def best_resolution(width: int, height: int, pinpoints: Pinpoints) -> tuple[int, int]:
    """The pinpoint (height, width) that keeps most pixels and wastes least; the first wins a tie."""
    best, most, least_waste = (0, 0), -1, 0
    for high, wide in pinpoints:
        scale = min(wide / width, high / height)
        effective = min(int(width * scale) * int(height * scale), width * height)
        waste = wide * high - effective
        if effective > most or (effective == most and waste < least_waste):
            best, most, least_waste = (high, wide), effective, waste
    return best


def grid(width: int, height: int, pinpoints: Pinpoints, tile: int, patch: int) -> Grid:
    """Views, rows, columns and tokens of a picture of `width` x `height` pixels.

    `tile` is the vision tower's image size and `patch` its patch size, in pixels.

    Raises:
        UserError: for a picture without pixels, no pinpoints, or pinpoints that are not whole tiles.
    """
    _check(width, height, pinpoints, tile)
    high, wide = best_resolution(width, height, pinpoints)
    side = tile // patch
    rows, columns = side * (high // tile), side * (wide // tile)
    if width / height > columns / rows:  # wider than the grid: padded above and below
        content = int(round(height * (columns / width), 7))
        rows -= 2 * ((rows - content) // 2)
    else:
        content = int(round(width * (rows / height), 7))
        columns -= 2 * ((columns - content) // 2)
    views = 1 + (high // tile) * (wide // tile)
    return Grid(width, height, (high, wide), views, rows, columns, side * side + rows * (columns + 1))


def tokens_for(sizes: Iterable[Sequence[int]], backbone: BackboneConfig) -> list[dict[str, Any]]:
    """JSON-ready grids of pictures given as (width, height) pairs, in order.

    Raises:
        UserError: naming the position of an entry that is not two positive whole numbers.
    """
    tile, patch = backbone.tower_geometry()
    result = []
    for number, size in enumerate(sizes):
        pair = isinstance(size, list | tuple) and len(size) == 2
        if not pair or not all(type(side) is int and side > 0 for side in size):
            raise UserError(f"sizes[{number}] is {size!r}; give [width, height] in pixels, whole numbers above 0")
        result.append(asdict(grid(size[0], size[1], backbone.pinpoints, tile, patch)))
    return result


def _check(width: int, height: int, pinpoints: Pinpoints, tile: int) -> None:
    if width < 1 or height < 1:
        raise UserError(f"a picture of {width}x{height} pixels has nothing to show; sides must be 1 or more")
    if not pinpoints or any(high % tile or wide % tile or min(high, wide) < tile for high, wide in pinpoints):
        raise UserError(
            f"pinpoints must be (height, width) multiples of the tile of {tile} pixels, got {list(pinpoints)}"
        )
