"""ViewerState: all that the viewer remembers between runs of one session, under one key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, get_args

import streamlit as st

from apps.viewer.access.accounts import Access
from apps.viewer.access.roles import User
from apps.viewer.access.tokens import FOLDER, RIGHTS, Permit, issue
from apps.viewer.desk import Desk, desk_of
from apps.viewer.second_reading import BLIND
from medseg.core.errors import InputError
from medseg.workflows.results.open_study import StudyEntry

_KEY = "medseg_viewer"

PageName = Literal["worklist", "read", "compare", "vessels", "jobs", "models", "dashboard", "log"]
PAGES: tuple[PageName, ...] = get_args(PageName)


@dataclass(frozen=True, slots=True)
class ViewerSettings:
    """What the launcher hands to the pages: its folder, the key that signs permits, who reads."""

    folder: Path
    signing_key: str
    user: User

    @classmethod
    def current(cls) -> Self:
        """The settings of this server; Streamlit keeps them among its secrets, out of reach of the browser."""
        given = st.secrets["medseg"]
        return cls(Path(given["folder"]), str(given["signing_key"]), cls._user())

    @classmethod
    def access(cls) -> Access | None:
        """Who may come in; None where one person alone works on this machine."""
        text = st.secrets["medseg"]["access"]
        return Access.model_validate_json(text) if text else None

    @classmethod
    def _user(cls) -> User:
        access = cls.access()
        if access is None:
            return User(str(st.secrets["medseg"]["reader"]), "admin")
        user = access.user(st.user.to_dict())
        if user is None:
            raise InputError("your account may not open this viewer")
        return user

    @property
    def desk(self) -> Desk:
        """The desk of the folder."""
        return desk_of(self.folder)

    def told(self, study: str | None = None) -> dict[str, Any]:
        """What every page of the browser is told: permits for the folder and a study, and what this user may."""
        permits = {"folder": self.permit(), **({"study": self.permit(study)} if study is not None else {})}
        rights = RIGHTS[: RIGHTS.index(self.user.right) + 1]
        return {
            "permits": permits,
            "user": self.user.name,
            "may_correct": "correct" in rights,
            "may_administer": "administer" in rights,
        }

    def note_view(self, entry: StudyEntry, state: ViewerState, *, is_blind: bool = False) -> None:
        """Write into the log that this user looks at a study, once a session; for a second reading, that it is one."""
        if (entry.id, is_blind) not in state.logged:
            self.desk.log.add(self.user.name, "view", entry.name, BLIND if is_blind else "")
            state.logged.add((entry.id, is_blind))

    def permit(self, study: str = FOLDER) -> str:
        """A signed permit of this user for a study, or for the folder as a whole."""
        return issue(self.signing_key, Permit(study, self.user.name, self.user.right))


@dataclass(slots=True)
class ViewerState:
    """The study on the screen and the one beside it, those noted in the log as seen, and the page to go to next."""

    study: str | None = None
    prior: str | None = None
    used_s: float | None = None
    logged: set[tuple[str, bool]] = field(default_factory=set)
    destination: PageName | None = None

    def go(self, page: str, study: str | None = None, prior: str | None = None) -> None:
        """Choose the page to go to when this run is over, and the studies that it shows."""
        if page in PAGES:
            self.destination, self.study, self.prior = page, study or self.study, prior

    def address_of(self, page: PageName) -> dict[str, str] | None:
        """What the address of a page says of the studies it shows; None where it shows none."""
        if self.study is None or page not in ("read", "compare", "vessels"):
            return None
        return {"study": self.study, **({"prior": self.prior} if page == "compare" and self.prior else {})}

    @classmethod
    def current(cls) -> ViewerState:
        """The state of this session, made at its first run."""
        if _KEY not in st.session_state:
            st.session_state[_KEY] = cls()
        state: ViewerState = st.session_state[_KEY]
        return state
