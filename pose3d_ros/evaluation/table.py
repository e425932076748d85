"""Reports side by side, as text."""

from __future__ import annotations

from typing import Any


def table(reports: list[dict[str, Any]]) -> str:
    """The reports' numbers side by side, a column per video."""
    rows = [key for key in reports[0] if not isinstance(reports[0][key], dict)]

    def cell(value: object) -> str:
        return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)

    lines = [[key, *(cell(report.get(key)) for report in reports)] for key in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(reports) + 1)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
