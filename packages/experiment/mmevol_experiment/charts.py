"""Charts as inline SVG: no script, no file beside the page. Colours are CSS variables of the page's template."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

SERIES = 6  # colours --c0 .. --c5 of the template


@dataclass(frozen=True)
class Interval:
    """A value with its interval; `strong` is drawn bold."""

    label: str
    value: float
    low: float
    high: float
    strong: bool = False


def intervals(rows: Sequence[Interval], unit: str) -> str:
    """Points with intervals around a line at zero, one row each."""
    left, right, height, top = 150, 90, 26, 8
    width = 760
    low = min([0.0, *(row.low for row in rows)])
    high = max([0.0, *(row.high for row in rows)])
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return left + (value - low) / span * (width - left - right)

    bottom = top + height * len(rows)
    parts = [_line(x(0), top, x(0), bottom, "zero")]
    for number, row in enumerate(rows):
        y = top + height * (number + 0.5)
        side = "up" if row.low > 0 else "down" if row.high < 0 else "flat"
        parts.append(_text(left - 12, y + 4, row.label, "end", "strong" if row.strong else ""))
        parts.append(_line(x(row.low), y, x(row.high), y, f"whisker {side}"))
        parts.append(f'<circle class="{side}" cx="{x(row.value):.1f}" cy="{y:.1f}" r="{5 if row.strong else 4}"/>')
        parts.append(_text(width - right + 12, y + 4, f"{row.value:+.1f}", "start", "strong" if row.strong else ""))
    for tick in ticks(low, high):
        parts.append(_text(x(tick), bottom + 16, f"{tick:g}", "middle", "tick"))
    return _svg(width, bottom + 22, parts, f"differences in {unit}")


def lines(series: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str) -> str:
    """Several curves over one axis; y is logarithmic, as losses are read."""
    width, height, left, bottom, top = 760, 260, 56, 34, 22
    points = [point for curve in series.values() for point in curve if point[1] > 0]
    if not points:
        return ""
    x_high = max(x for x, _ in points) or 1
    logs = [math.log10(y) for _, y in points]
    low, high = min(logs), max(max(logs), min(logs) + 0.1)

    def place(x: float, y: float) -> str:
        across = left + x / x_high * (width - left - 16)
        down = top + (high - math.log10(y)) / (high - low) * (height - top - bottom)
        return f"{across:.1f},{down:.1f}"

    parts = [_line(left, height - bottom, width - 16, height - bottom, "axis")]
    for tick in ticks(0, x_high):
        across = left + tick / x_high * (width - left - 16)
        parts.append(_text(across, height - bottom + 16, f"{tick:g}", "middle", "tick"))
    for tick in (10**low, 10 ** ((low + high) / 2), 10**high):
        down = float(place(0, tick).split(",")[1])
        parts.append(_line(left, down, width - 16, down, "grid"))
        parts.append(_text(left - 8, down + 4, f"{tick:.2g}", "end", "tick"))
    for number, (name, curve) in enumerate(series.items()):
        path = " ".join(place(x, y) for x, y in curve if y > 0)
        parts.append(
            f'<polyline class="curve s{number % SERIES}" points="{path}"><title>{escape(name)}</title></polyline>'
        )
    parts.append(_text(width - 16, height - 4, x_label, "end", "tick"))
    parts.append(_text(4, 12, y_label, "start", "tick"))
    return _svg(width, height, parts, f"{y_label} over {x_label}") + legend(list(series))


def stacks(rows: Sequence[tuple[str, Mapping[str, float]]], names: Sequence[str]) -> str:
    """Horizontal stacked bars on one scale; `names` is the order of the parts."""
    width, left, height, right = 760, 240, 24, 70
    largest = max((sum(parts.values()) for _, parts in rows), default=0) or 1
    drawn: list[str] = []
    for number, (label, parts) in enumerate(rows):
        y, across = number * height + 4, float(left)
        drawn.append(_text(left - 12, y + 13, label, "end"))
        for name in names:
            size = parts.get(name, 0) / largest * (width - left - right)
            if size > 0:
                title = f"<title>{escape(name)}: {parts[name]:g}</title>"
                drawn.append(
                    f'<rect class="s{names.index(name) % SERIES}" x="{across:.1f}" y="{y}" width="{size:.1f}" '
                    f'height="{height - 8}">{title}</rect>'
                )
            across += size
        drawn.append(_text(across + 8, y + 13, f"{sum(parts.values()):g}", "start", "tick"))
    return _svg(width, len(rows) * height + 8, drawn, "counts") + legend(names)


def legend(names: Sequence[str]) -> str:
    """Names beside their colours."""
    items = "".join(
        f'<span><i class="s{number % SERIES}"></i>{escape(name)}</span>' for number, name in enumerate(names)
    )
    return f'<p class="legend">{items}</p>'


def picture(data_uri: str, boxes: Sequence[tuple[str, tuple[float, float, float, float]]]) -> str:
    """An image with labelled boxes (shares of its sides) drawn over it."""
    parts = [f'<image href="{data_uri}" x="0" y="0" width="100" height="100" preserveAspectRatio="none"/>']
    for number, (label, (x0, y0, x1, y1)) in enumerate(boxes):
        size = f'width="{100 * (x1 - x0):.1f}" height="{100 * (y1 - y0):.1f}"'
        parts.append(
            f'<rect class="box b{number % SERIES}" x="{100 * x0:.1f}" y="{100 * y0:.1f}" {size}>'
            f"<title>{escape(label)}</title></rect>"
        )
    return f'<svg class="picture" viewBox="0 0 100 100" role="img" aria-label="image with boxes">{"".join(parts)}</svg>'


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from low to high, zero among them when it lies between."""
    step = 10 ** math.floor(math.log10((high - low) / about or 1)) if high > low else 1.0
    step *= next((factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= about), 10)
    first = math.ceil(low / step)
    return [round(number * step, 10) for number in range(first, math.floor(high / step) + 1)]


def smoothed(values: Sequence[float], keep: float = 0.95) -> list[float]:
    """Exponential mean with the start corrected."""
    result, mean = [], 0.0
    for number, value in enumerate(values, start=1):
        mean = keep * mean + (1 - keep) * value
        result.append(mean / (1 - keep**number))
    return result


def _svg(width: float, height: float, parts: Sequence[str], label: str) -> str:
    inside = "".join(parts)
    return (
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">{inside}</svg>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, name: str) -> str:
    return f'<line class="{name}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, name: str = "") -> str:
    return f'<text class="{name}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
