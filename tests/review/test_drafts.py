"""Drafts wait for their reader, each beside those over other masks, and are put on a newer mask voxel for voxel."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import StoreError
from medseg.review.drafts import MOST_DRAFTS, Draft, DraftStore, put_on

SUBJECT = ("a" * 64, "task", "c" * 64)
OLD, NEW = "1" * 64, "2" * 64


@pytest.fixture
def drafts(tmp_path: Path) -> DraftStore:
    return DraftStore(tmp_path)


def keep(drafts: DraftStore, base: str, content: bytes, kept_s: int = 0) -> None:
    """Keep a draft of jane's, as if at a time."""
    drafts.keep(Draft(base, 1.0, content), SUBJECT, "jane")
    for path in drafts.folder.iterdir():
        if path.read_bytes().endswith(content):
            os.utime(path, (kept_s, kept_s))


def test_a_draft_is_replaced_and_dropped(drafts: DraftStore) -> None:
    assert drafts.find(SUBJECT, "jane", OLD) is None
    keep(drafts, OLD, b"one")
    keep(drafts, OLD, b"t\nw\no")
    assert drafts.find(SUBJECT, "jane", OLD) == Draft(OLD, 1.0, b"t\nw\no")
    assert drafts.find(SUBJECT, "john", OLD) is None
    assert drafts.find(("a" * 64, "task", "n" * 64), "jane", OLD) is None
    drafts.drop(SUBJECT, "jane", OLD)
    assert drafts.find(SUBJECT, "jane", OLD) is None


def test_a_draft_over_a_newer_mask_leaves_the_older_one(drafts: DraftStore) -> None:
    keep(drafts, OLD, b"drawn before the conflict", 10)
    keep(drafts, NEW, b"the first stroke after it", 20)
    assert [one.draft.labels_gzip for one in drafts.all_of(SUBJECT, "jane")] == [
        b"the first stroke after it",
        b"drawn before the conflict",
    ]
    assert [one.kept.timestamp() for one in drafts.all_of(SUBJECT, "jane")] == [20, 10]
    drafts.drop(SUBJECT, "jane", NEW)
    assert [one.draft.base_mask_sha256 for one in drafts.all_of(SUBJECT, "jane")] == [OLD]


def test_the_oldest_of_too_many_goes(drafts: DraftStore) -> None:
    bases = [f"{number:064}" for number in range(MOST_DRAFTS + 1)]
    for number, base in enumerate(bases):
        keep(drafts, base, f"content {number}.".encode(), kept_s=number)
    assert [one.draft.base_mask_sha256 for one in drafts.all_of(SUBJECT, "jane")] == bases[:0:-1]
    for path in drafts.folder.iterdir():  # the clock was set back: what is written now seems the oldest
        os.utime(path, (4e9, 4e9))
    keep(drafts, "late", b"one more")
    assert "late" in [one.draft.base_mask_sha256 for one in drafts.all_of(SUBJECT, "jane")]


def test_a_draft_of_an_earlier_version_is_found(drafts: DraftStore) -> None:
    keep(drafts, OLD, b"one")
    (path,) = drafts.folder.iterdir()
    path.rename(drafts.folder / f"{path.name[:64]}.draft")
    assert drafts.find(SUBJECT, "jane", OLD) == Draft(OLD, 1.0, b"one")
    keep(drafts, OLD, b"two", kept_s=10)
    assert drafts.find(SUBJECT, "jane", OLD) == Draft(OLD, 1.0, b"two")
    drafts.drop(SUBJECT, "jane", OLD)
    assert drafts.all_of(SUBJECT, "jane") == ()


def test_a_damaged_draft_is_a_sentence(drafts: DraftStore) -> None:
    keep(drafts, OLD, b"one")
    next(drafts.folder.iterdir()).write_bytes(b"{")
    with pytest.raises(StoreError, match="damaged"):
        drafts.find(SUBJECT, "jane", OLD)
    keep(drafts, "newer", b"two")
    assert [one.draft.base_mask_sha256 for one in drafts.all_of(SUBJECT, "jane")] == ["newer"], "others are not held up"
    drafts.drop(SUBJECT, "jane", OLD)
    assert drafts.find(SUBJECT, "jane", OLD) is None


def test_only_what_a_draft_changed_is_put_on_a_newer_mask() -> None:
    base = np.array([0, 0, 0, 1, 1, 1], np.uint8)
    drawn = np.array([2, 0, 2, 1, 0, 2], np.uint8)
    newest = np.array([0, 3, 3, 0, 0, 1], np.uint8)
    labels, also_changed = put_on(newest, drawn, base)
    # Drawn in voxels 0, 2, 4 and 5; in 2 the newest has another label, in 4 the same.
    assert labels.tolist() == [2, 3, 2, 0, 0, 2]
    assert also_changed == 1
    assert put_on(newest, drawn, None)[0].tolist() == drawn.tolist()
