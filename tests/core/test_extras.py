import pytest

from medseg.core.errors import InputError
from medseg.core.extras import require_extra


def test_what_is_there_is_enough() -> None:
    require_extra("this", "dev", ("json", "pytest"))


def test_all_that_is_missing_is_named_with_what_installs_it() -> None:
    with pytest.raises(InputError) as raised:
        require_extra("the tracker", "x", ("json", "no_such_a", "no_such_b"))
    assert str(raised.value) == (
        "the tracker needs no_such_a, no_such_b, which are not installed. Install with: pip install 'medseg[x]'"
    )
