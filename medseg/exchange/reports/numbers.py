"""Numbers and their units as people write them."""

from __future__ import annotations

PRINTED_UNITS = {"[hnsf'U]": "HU", "g/ml{SUVbw}": "SUV", "[arb'U]": "", "1": "", "mm2": "mm²", "deg": "°"}
"""UCUM units as people write them."""


def number_in_words(value: float) -> str:
    """Two or three digits that count, and no more."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) < 0.1:
        return f"{value:.2g}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
