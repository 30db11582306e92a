"""ViewerState: all that the viewer remembers between runs of one session, under one key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import streamlit as st

from apps.viewer.desk import Desk, desk_of

_KEY = "medseg_viewer"

PageName = Literal["worklist", "read"]


@dataclass(frozen=True, slots=True)
class ViewerSettings:
    """What the launcher hands to the pages: the folder of studies, the key that signs permits, who reads."""

    folder: Path
    signing_key: str
    reader: str

    @classmethod
    def current(cls) -> Self:
        """The settings of this server; Streamlit keeps them among its secrets, out of reach of the browser."""
        given = st.secrets["medseg"]
        return cls(Path(given["folder"]), str(given["signing_key"]), str(given["reader"]))

    @property
    def desk(self) -> Desk:
        """The desk of the folder."""
        return desk_of(self.folder)


@dataclass(slots=True)
class ViewerState:
    """The study on the screen, and the page to go to when this run is over."""

    study: str | None = None
    destination: PageName | None = None

    @classmethod
    def current(cls) -> ViewerState:
        """The state of this session, made at its first run."""
        if _KEY not in st.session_state:
            st.session_state[_KEY] = cls()
        state: ViewerState = st.session_state[_KEY]
        return state
