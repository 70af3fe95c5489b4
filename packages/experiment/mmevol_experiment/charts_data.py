"""Charts of data sets as SVG: distribution by domain, histograms before and after, verbs and nouns, long tails."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from mmevol_experiment.charts import SERIES

WIDTH = 760
STYLE = """
svg { font: 12px system-ui, sans-serif; background: #fff; }
text { fill: #222; } .tick { fill: #666; font-size: 11px; } .strong { font-weight: 600; }
.axis, .grid { stroke: #bbb; } .grid { stroke-opacity: .4; }
.s0 { fill: #3b6fb5; } .s1 { fill: #d9822b; } .s2 { fill: #3f9a63; } .s3 { fill: #8a5cb8; } .s4 { fill: #b9433f; }
.s5 { fill: #5b7380; }
"""


def standalone(*charts: str) -> str:
    """One SVG file of one or several charts, one below the other, with the colours that a page's template has."""
    parts, top, width = [], 0.0, 0.0
    for chart in charts:
        wide, high = size(chart)
        parts.append(chart.replace("<svg ", f'<svg x="0" y="{top:g}" width="{wide:g}" height="{high:g}" ', 1))
        top, width = top + high + 12, max(width, wide)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {top:g}" width="{width:g}">'
        f"<style>{STYLE}</style>{''.join(parts)}</svg>\n"
    )


def size(chart: str) -> tuple[float, float]:
    """Width and height of a chart, from its view box."""
    _, _, wide, high = chart.split('viewBox="', 1)[1].split('"', 1)[0].split()
    return float(wide), float(high)


def histograms(series: Mapping[str, Mapping[str, float]], title: str, x_label: str) -> str:
    """Bars of several histograms (value -> count) beside each other, as shares of each one's own sum, in percent."""
    values = sorted({float(value) for histogram in series.values() for value in histogram})
    shares = {
        name: {float(value): 100 * count / sum(histogram.values()) for value, count in histogram.items()}
        for name, histogram in series.items()
        if sum(histogram.values())
    }
    if not values or not shares:
        return ""
    left, top, bottom, height = 46, 40, 36, 240
    most = max(share for histogram in shares.values() for share in histogram.values())
    slot = (WIDTH - left - 16) / len(values)
    bar = slot * 0.8 / len(shares)
    parts = [_text(left, 16, title, "start", "strong"), *_key(list(shares), left + 260)]
    for tick in (0, most / 2, most):
        y = height - bottom - tick / most * (height - top - bottom)
        parts += [_line(left, y, WIDTH - 16, y, "grid"), _text(left - 6, y + 4, f"{tick:.0f} %", "end", "tick")]
    for place, value in enumerate(values):
        x = left + place * slot
        parts.append(_text(x + slot / 2, height - bottom + 16, f"{value:g}", "middle", "tick"))
        for number, (name, histogram) in enumerate(shares.items()):
            share = histogram.get(value, 0.0)
            tall = share / most * (height - top - bottom)
            label = f"{name}, {value:g}: {share:.1f} %"
            parts.append(_bar(x + slot * 0.1 + number * bar, height - bottom - tall, bar, tall, number, label))
    parts.append(_text(WIDTH - 16, height - 4, x_label, "end", "tick"))
    return _svg(height, parts, title)


def ranked(counts: Mapping[str, Mapping[str, float]], title: str, most: int = 30) -> str:
    """Names by their counts in the last series, one row each, with a bar for each series."""
    names = list(counts)
    last = counts[names[-1]] if names else {}
    rows = sorted(last, key=lambda name: -last[name])[:most]
    if not rows:
        return ""
    largest = max(series.get(name, 0) for series in counts.values() for name in rows) or 1
    left, height = 190, 8 + 9 * len(names)
    parts = [_text(8, 16, title, "start", "strong"), *_key(names, 420)]
    for place, name in enumerate(rows):
        y = 28 + place * height
        parts.append(_text(left - 10, y + height / 2 + 2, name, "end"))
        for number, series in enumerate(counts.values()):
            count = series.get(name, 0)
            wide = count / largest * (WIDTH - left - 80)
            parts.append(_bar(left, y + 2 + 9 * number, wide, 8, number, f"{name}: {count:g}"))
        parts.append(
            _text(
                left + last[name] / largest * (WIDTH - left - 80) + 6,
                y + height - 6,
                f"{last[name]:g}",
                "start",
                "tick",
            )
        )
    return _svg(28 + height * len(rows) + 8, parts, title)


def sunburst(pairs: Mapping[str, float], title: str, most: int = 12) -> str:
    """Root verbs (inner ring) with their nouns (outer ring); `pairs` maps "verb noun" to a count."""
    verbs: dict[str, dict[str, float]] = {}
    for pair, count in pairs.items():
        verb, _, noun = pair.partition(" ")
        verbs.setdefault(verb, {})[noun] = count
    ordered = sorted(verbs.items(), key=lambda item: -sum(item[1].values()))[:most]
    total = sum(sum(nouns.values()) for _, nouns in ordered)
    if not total:
        return ""
    middle, radius, parts, at = 230.0, 100.0, [_text(8, 16, title, "start", "strong")], 0.0
    for number, (verb, nouns) in enumerate(ordered):  # shares are of the verbs shown
        wide = sum(nouns.values()) / total
        parts.append(_ring(middle, 36, radius, at, at + wide, number, f"{verb}: {sum(nouns.values()):g}"))
        parts.append(_along(middle, 68, at + wide / 2, verb, "#fff") if wide > 0.02 else "")
        y = 60 + 24 * number
        parts += [_bar(2 * middle, y - 10, 12, 12, number, verb), _text(2 * middle + 20, y, verb, "start")]
        parts.append(_text(2 * middle + 130, y, f"{100 * wide:.1f} %", "end", "tick"))
        start = at
        for noun, count in sorted(nouns.items(), key=lambda item: -item[1]):
            part = count / total
            parts.append(_ring(middle, radius, 170, start, start + part, number, f"{verb} {noun}: {count:g}", 0.6))
            parts.append(_along(middle, 135, start + part / 2, noun) if part > 0.012 else "")
            start += part
        at += wide
    return _svg(2 * middle, parts, title)


def tail(rows: Sequence[tuple[str, float, float]], title: str) -> str:
    """A bar for each (name, before, after), after in the colour of the second series and before in front of it.

    The heights are logarithms, for the head is hundreds of times the tail.
    """
    if not rows:
        return ""
    left, top, bottom, height = 46, 40, 24, 240
    most = math.log10(1 + max(max(before, after) for _, before, after in rows))
    wide = (WIDTH - left - 16) / len(rows)

    def high(count: float) -> float:
        return math.log10(1 + count) / most * (height - top - bottom)

    parts = [_text(left, 16, title, "start", "strong"), *_key(["before", "after"], left + 320)]
    for power in range(int(most) + 1):
        y = height - bottom - high(10**power)
        parts += [_line(left, y, WIDTH - 16, y, "grid"), _text(left - 6, y + 4, f"{10**power:g}", "end", "tick")]
    for place, (name, before, after) in enumerate(rows):
        x, label = left + place * wide, f"{place + 1}. {name}: {before:g} before, {after:g} after"
        parts.append(_bar(x, height - bottom - high(after), wide * 0.9, high(after), 1, label))
        parts.append(_bar(x, height - bottom - high(before), wide * 0.9, high(before), 0, label) if before else "")
    parts.append(_text(WIDTH - 16, height - 6, f"rank 1 to {len(rows)}", "end", "tick"))
    return _svg(height, parts, title)


def domains(groups: Mapping[str, Mapping[str, float]], title: str = "Records by domain and source") -> str:
    """A block of bars for each domain, one bar a source, with counts."""
    if not groups:
        return ""
    largest = max(count for sources in groups.values() for count in sources.values())
    total, y = sum(sum(sources.values()) for sources in groups.values()), 40.0
    parts = [_text(8, 16, f"{title}: {total:g}", "start", "strong")]
    for number, (domain, sources) in enumerate(groups.items()):
        whole = sum(sources.values())
        parts.append(_text(8, y, f"{domain} {whole:g} ({100 * whole / total:.1f} %)", "start", "strong"))
        for source, count in sorted(sources.items(), key=lambda item: -item[1]):
            y += 17
            parts.append(_text(180, y, source, "end"))
            parts.append(_bar(190, y - 10, max(1.0, count / largest * 470), 12, number, f"{source}: {count:g}"))
            parts.append(_text(196 + max(1.0, count / largest * 470), y, f"{count:g}", "start", "tick"))
        y += 26
    return _svg(y, parts, title)


def _ring(
    middle: float, inner: float, outer: float, start: float, end: float, number: int, label: str, opacity: float = 1
) -> str:
    """A piece of a ring; start and end are shares of the circle, clockwise from the top."""
    end = min(end, start + 0.9999)  # an arc that ends where it begins is not drawn
    wide = int(end - start > 0.5)

    def point(radius: float, share: float) -> str:
        angle = 2 * math.pi * share
        return f"{middle + radius * math.sin(angle):.1f},{middle - radius * math.cos(angle):.1f}"

    path = (
        f"M{point(inner, start)} L{point(outer, start)} A{outer},{outer} 0 {wide} 1 {point(outer, end)} "
        f"L{point(inner, end)} A{inner},{inner} 0 {wide} 0 {point(inner, start)} Z"
    )
    look = f'class="s{number % SERIES}" stroke="#fff" fill-opacity="{opacity:g}"'
    return f'<path {look} d="{path}"><title>{escape(label)}</title></path>'


def _along(middle: float, radius: float, share: float, text: str, colour: str = "#222") -> str:
    """A word at a place of a ring, readable from the left."""
    angle = 360 * share - 90
    turn = angle if angle < 90 else angle - 180
    x = middle + radius * math.sin(2 * math.pi * share)
    y = middle - radius * math.cos(2 * math.pi * share)
    return (
        f'<text style="fill:{colour};font-size:11px" x="{x:.1f}" y="{y:.1f}" text-anchor="middle" dy="4" '
        f'transform="rotate({turn:.1f} {x:.1f} {y:.1f})">{escape(text)}</text>'
    )


def _key(names: Sequence[str], left: float) -> list[str]:
    """Names beside their colours, in a row at the top."""
    parts: list[str] = []
    for number, name in enumerate(names):
        x = left + number * 110
        parts += [_bar(x, 7, 10, 10, number, name), _text(x + 15, 16, name, "start", "tick")]
    return parts


def _bar(x: float, y: float, wide: float, high: float, number: int, label: str) -> str:
    return (
        f'<rect class="s{number % SERIES}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}">'
        f"<title>{escape(label)}</title></rect>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, name: str) -> str:
    return f'<line class="{name}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, name: str = "") -> str:
    return f'<text class="{name}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: float, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
