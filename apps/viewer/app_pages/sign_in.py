"""The door of the pages: who has signed in, or a page to do so."""

from __future__ import annotations

import time

import streamlit as st

from apps.viewer.access.accounts import Access
from apps.viewer.state import ViewerSettings, ViewerState
from medseg.core.report import NOT_FOR_DIAGNOSIS


def may_come_in() -> bool:
    """Whether somebody who may is signed in; otherwise the page to sign in, or why not, is shown."""
    access = ViewerSettings.access()
    if access is None:
        return True
    if not st.user.is_logged_in:
        _sign_in("Sign in to read studies.")
        return False
    if _was_idle(access):
        st.logout()
        return False
    if access.user(st.user.to_dict()) is None:
        st.error("Your account may not open this viewer. Ask its administrator for a role.")
        st.button("Sign out", on_click=st.logout)
        return False
    return True


def _sign_in(words: str) -> None:
    st.title("medseg viewer")
    st.write(f"{words} {NOT_FOR_DIAGNOSIS}")
    st.button("Sign in", on_click=st.login, type="primary")


def _was_idle(access: Access) -> bool:
    """Whether the session rested for longer than it may; notes that it is used now."""
    state, now = ViewerState.current(), time.monotonic()
    last, state.used_s = state.used_s, now
    return last is not None and now - last > 60 * access.idle_minutes
