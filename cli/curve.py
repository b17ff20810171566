"""A curve drawn with block characters, and its one-line form. Pure; no plotting library for some twenty points."""

from __future__ import annotations

from collections.abc import Sequence

_EIGHTHS = " ▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float]) -> str:
    """One character a value, the largest full height, zero the lowest."""
    top = max(values, default=0.0)
    return "".join(_EIGHTHS[_eighths(value, 0.0, top, 1) or 1] for value in values)


def chart(
    points: Sequence[tuple[int, float]],
    *,
    title: str,
    steps: int,
    low: float,
    high: float,
    width: int = 36,
    height: int = 6,
) -> list[str]:
    """Lines of exactly `width` columns: a title, `height` rows from `high` down to `low`, an axis from step 0 to `steps`.

    `points` are (step, value), ascending; what lies outside low … high is drawn at the border. Each stands as a bar as wide as the way
    from the point before it.
    """
    labels = [_label(high), _label(low)]
    margin = max(map(len, labels))
    columns = width - margin - 2
    if columns < 8 or height < 2:
        raise ValueError(f"a chart needs {margin + 10} columns and 2 rows, got {width} and {height}")
    heights = [0] * columns
    last = 0
    for step, value in points:
        end = min(columns, max(last + 1, round(columns * step / max(steps, 1))))
        for column in range(last, end):
            heights[column] = _eighths(value, low, high, height) or 1
        last = end
    rows = []
    for row in range(height):
        below = 8 * (height - 1 - row)
        label = labels[0] if row == 0 else labels[1] if row == height - 1 else ""
        bar = "".join(_EIGHTHS[max(0, min(8, eighths - below))] for eighths in heights)
        rows.append(f"{label:>{margin}} {'┤' if label else '│'}{bar}")
    axis = f"{'step 0':<{columns - len(f'{steps:,}')}}{steps:,}"
    return [f"{title[:width]:<{width}}", *rows, f"{'':>{margin}}  {axis}"]


def _eighths(value: float, low: float, high: float, height: int) -> int:
    if high <= low:
        return 8 * height if value > low else 0
    return round(8 * height * (min(max(value, low), high) - low) / (high - low))


def _label(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.3g}"
