import pytest
from pydantic import ValidationError

from medseg.core.labels import Code, Label, LabelKind, LabelSchema

CODE = Code(value="10200004", scheme="SCT", meaning="Liver")


def label(index: int, name: str, kind: LabelKind = "organ") -> Label:
    return Label(index=index, name=name, code=CODE, category=CODE, colour=(1, 2, 3), kind=kind)


def test_a_schema_names_background_and_its_labels() -> None:
    schema = LabelSchema(labels=(label(1, "a"), label(7, "b"), label(300, "c")))
    assert schema.indices == (0, 1, 7, 300)
    assert schema[300].name == "c"
    assert schema.named("b").index == 7


@pytest.mark.parametrize("index", [0, 2])
def test_an_index_that_is_not_named_is_a_key_error(index: int) -> None:
    with pytest.raises(KeyError):
        LabelSchema(labels=(label(1, "a"),))[index]


def test_a_name_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        LabelSchema(labels=(label(1, "a"),)).named("b")


def test_an_index_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="label index used more than once: 1"):
        LabelSchema(labels=(label(1, "a"), label(1, "b")))


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="label name used more than once: a"):
        LabelSchema(labels=(label(1, "a"), label(2, "a")))


def test_a_schema_without_labels_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1"):
        LabelSchema(labels=())


@pytest.mark.parametrize("index", [0, -1, 65536])
def test_an_index_lies_between_1_and_65535(index: int) -> None:
    with pytest.raises(ValidationError):
        label(index, "a")


@pytest.mark.parametrize("colour", [(256, 0, 0), (-1, 0, 0), (0, 0)])
def test_a_colour_is_three_bytes(colour: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError):
        Label(index=1, name="a", code=CODE, category=CODE, colour=colour)


@pytest.mark.parametrize(
    ("kind", "counted"), [("organ", False), ("vessel", False), ("lesion", True), ("blockage", True)]
)
def test_lesions_and_blockages_are_counted(kind: LabelKind, counted: bool) -> None:
    assert label(1, "a", kind).is_counted is counted


def test_a_code_fits_its_dicom_fields() -> None:
    with pytest.raises(ValidationError):
        Code(value="1" * 17, scheme="SCT", meaning="too long a value (SH has 16 characters)")
    with pytest.raises(ValidationError):
        Code(value="1", scheme="SCT", meaning="m" * 65)


def test_nouns_are_frozen_and_take_nothing_extra() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(CODE, "value", "2")  # noqa: B010
    with pytest.raises(ValidationError, match="Extra inputs"):
        Code.model_validate({"value": "1", "scheme": "SCT", "meaning": "m", "version": "2"})
