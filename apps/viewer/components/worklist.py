"""The worklist: a table of studies that can be sorted, filtered and searched, with keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from apps.viewer.components.reading_room import loader

NAME = "medseg_worklist"


def show(rows: Sequence[Mapping[str, Any]], last_read: str | None, key: str) -> str | None:
    """Mount the worklist; the id of the study that the reader opened, None where nothing was chosen."""
    mount = st.components.v2.component(NAME, js=loader("worklist.js"))
    result = mount(key=key, data={"rows": list(rows), "last_read": last_read}, on_open_change=_noted)
    chosen = result.get("open")
    return str(chosen) if chosen is not None else None


def _noted() -> None:
    """Nothing to do in the callback: the rerun that it brings is what matters."""
