"""UCUM units as codes."""

from __future__ import annotations

from medseg.core.labels import Code

UNIT_MEANINGS = {
    "ml": "milliliter",
    "mm": "millimeter",
    "mm2": "square millimeter",
    "deg": "degree",
    "g": "gram",
    "%": "percent",
    "1": "no units",
    "bit": "bit",
    "[hnsf'U]": "Hounsfield unit",
    "g/ml{SUVbw}": "Standardized Uptake Value body weight",
    "Bq/ml": "Becquerels/milliliter",
    "[arb'U]": "arbitrary unit",
}
"""What UCUM units are called (PS3.16 CID 7181); a unit that is not here is called by its code."""


def unit_code(unit: str) -> Code:
    """A UCUM unit as a code."""
    return Code(value=unit, scheme="UCUM", meaning=UNIT_MEANINGS.get(unit, unit))
