"""The pages around the reading room: a module of the browser, what it is told, and what the user asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from apps.viewer.components.reading_room import loader
from apps.viewer.state import PAGES, ViewerSettings, ViewerState


def show(name: str, module: str, data: Mapping[str, Any], permits: Mapping[str, str] | None = None) -> list[str] | None:
    """Mount a page; what was opened there (the page, and its studies), None where nothing was.

    `permits` are those for single studies that the page shows. Another page that the user chose becomes the
    destination.
    """
    settings, state = ViewerSettings.current(), ViewerState.current()
    mount = st.components.v2.component(f"medseg_{name}", js=loader(module))
    told = {**settings.told(), **data}
    told["permits"] |= {"studies": dict(permits or {})}
    result = mount(key=name, data=told, on_open_change=_noted, on_go_change=_noted, on_renew_change=_noted)
    going = result.get("go")
    if going in PAGES:
        state.destination = going
    opened = result.get("open")
    return [str(part) for part in opened] if opened is not None else None


def _noted() -> None:
    """Nothing to do in the callback: the rerun that it brings is what matters."""
