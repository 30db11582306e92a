"""The reading room: pictures, mask, findings and tools of one study, drawn in the browser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from apps.viewer.assets import asset_version
from apps.viewer.page_data import ROUTE_ROOT

NAME = "medseg_reading_room"

_LOADER = """
const assets = `${location.origin}%s`;
const modules = import(`${assets}/%s`);
export default function (component) {
  let isGone = false;
  let stop = null;
  modules.then((found) => {
    if (!isGone) stop = found.mount(component, assets);
  });
  return () => {
    isGone = true;
    stop?.();
  };
}
"""


@dataclass(frozen=True, slots=True)
class RoomAnswer:
    """What the reader asked of the page: to leave for the worklist, or for the next study that is not decided.

    A fresh permit, and what was recorded since, come with every run of the page and need no answer.
    """

    leave: bool
    next: bool


def loader(module: str) -> str:
    """JavaScript that mounts a component from the viewer's own modules, fetched from this server only."""
    return _LOADER % (f"{ROUTE_ROOT}/assets/{asset_version()}", module)


def show(data: dict[str, Any], key: str) -> RoomAnswer:
    """Mount the reading room on a study and say what the reader asked for."""
    mount = st.components.v2.component(NAME, js=loader("main.js"))
    result = mount(
        key=key,
        data=data,
        on_leave_change=_noted,
        on_next_change=_noted,
        on_renew_change=_noted,
        on_saved_change=_noted,
    )
    return RoomAnswer(leave=result.get("leave") is not None, next=result.get("next") is not None)


def _noted() -> None:
    """Nothing to do in the callback: the rerun that it brings is what matters."""
