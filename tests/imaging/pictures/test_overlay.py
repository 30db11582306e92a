"""Masks over pictures, with every byte worked out by hand."""

import numpy as np
import pytest

from medseg.core.errors import InputError
from medseg.core.labels import Code, Label, LabelSchema
from medseg.imaging.pictures.overlay import OverlayStyle, outline, overlay

CODE = Code(value="4147007", scheme="SCT", meaning="Mass")
SCHEMA = LabelSchema(
    labels=(
        Label(index=1, name="organ", code=CODE, category=CODE, colour=(0, 255, 0)),
        Label(index=300, name="mass", code=CODE, category=CODE, colour=(255, 0, 0)),
    )
)


def test_a_pixel_mixes_grey_and_colour() -> None:
    grey = np.array([[100, 100, 100]], np.uint8)
    labels = np.array([[0, 1, 300]], np.uint16)
    rgb = overlay(grey, labels, SCHEMA, OverlayStyle(opacity=0.4, has_outline=False))
    # Share 102 of 255: 100 * 153 / 255 = 60; 60 + 102 = 162.
    assert rgb.tolist() == [[[100, 100, 100], [60, 162, 60], [162, 60, 60]]]


def test_a_hidden_label_shows_the_grey_beneath() -> None:
    style = OverlayStyle(opacity=1.0, hidden=frozenset({1}))
    rgb = overlay(np.full((1, 2), 9, np.uint8), np.array([[1, 300]], np.uint16), SCHEMA, style)
    assert rgb.tolist() == [[[9, 9, 9], [255, 0, 0]]]


def test_no_opacity_leaves_the_outline() -> None:
    labels = np.zeros((5, 5), np.uint8)
    labels[1:4, 1:4] = 1
    rgb = overlay(np.zeros((5, 5), np.uint8), labels, SCHEMA, OverlayStyle(opacity=0.0))
    assert (rgb[..., 1] == 255).astype(int).tolist() == [
        [0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 1, 0, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]


def test_outline_runs_between_labels_and_along_the_picture_edge() -> None:
    labels = np.array([[1, 1, 1, 2], [1, 1, 1, 2], [1, 1, 1, 2]], np.uint8)
    assert outline(labels).astype(int).tolist() == [[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1]]


def test_pictures_of_two_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="do not lie over each other"):
        overlay(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), SCHEMA, OverlayStyle())


def test_an_opacity_above_one_is_refused() -> None:
    with pytest.raises(InputError, match=r"between 0 and 1, got 1\.5"):
        overlay(np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8), SCHEMA, OverlayStyle(opacity=1.5))
