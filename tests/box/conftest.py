"""One box for all tests of a run: booted once, with our wheel in /opt/hr and fake providers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .box import Box, absent
from .home import Person, add_upstreams

POLKIT = ("/usr/lib/polkit-1/polkitd", "/usr/libexec/polkitd", "/usr/libexec/polkit-1/polkitd")


@pytest.fixture(scope="session")
def box() -> Iterator[Box]:
    """A real systemd, or a reason why there is none."""
    why = absent()
    if why:
        pytest.skip(why)
    made = Box()
    try:
        try:
            made.start()
        except RuntimeError as error:
            pytest.skip(f"the box does not boot here: {error}")
        made.install()
        add_upstreams(made)
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def hermes(box: Box) -> Person:
    """Somebody who has never logged in; without polkit nobody but root lets a user linger."""
    if box.run("id", "hermes").code:
        box.add_user("hermes", lingers=not any(Path(place).exists() for place in POLKIT))
    person = Person(box, "hermes")
    person.configure()
    return person
