"""The pages of the viewer; Streamlit runs this script for every session. Started by `apps.viewer.launch`."""

from __future__ import annotations

import streamlit as st

from apps.viewer.app_pages.compare_page import compare_page
from apps.viewer.app_pages.office_pages import dashboard_page, jobs_page, log_page, models_page
from apps.viewer.app_pages.read_page import read_page
from apps.viewer.app_pages.sign_in import may_come_in
from apps.viewer.app_pages.vessels_page import vessels_page
from apps.viewer.app_pages.worklist_page import worklist_page
from apps.viewer.state import ViewerState


def main() -> None:
    """Run the page of the address, then go where it asked to go."""
    st.set_page_config(page_title="medseg viewer", layout="wide")
    if not may_come_in():
        return
    pages = {
        "worklist": st.Page(worklist_page, title="Worklist", url_path="worklist", default=True),
        "read": st.Page(read_page, title="Read", url_path="read"),
        "compare": st.Page(compare_page, title="Compare", url_path="compare"),
        "vessels": st.Page(vessels_page, title="Vessels", url_path="vessels"),
        "jobs": st.Page(jobs_page, title="Jobs", url_path="jobs"),
        "models": st.Page(models_page, title="Models", url_path="models"),
        "dashboard": st.Page(dashboard_page, title="Dashboard", url_path="dashboard"),
        "log": st.Page(log_page, title="Log", url_path="log"),
    }
    st.navigation(list(pages.values()), position="hidden").run()
    state = ViewerState.current()
    destination, state.destination = state.destination, None
    if destination is not None:
        st.switch_page(pages[destination], query_params=state.address_of(destination))


if __name__ == "__main__":  # a worker process that this server starts imports the script without being it
    main()
