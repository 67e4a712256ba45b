"""What holds for every test."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from mbrl_control.deployment.keys import FOLDER_VARIABLE

pytest_plugins = ["tests.budget", "tests.pace"]

# No assertion is timed: a stall of a shared machine is not a fault of what is tested.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def own_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each run signs with a key of its own, in processes that it starts, too; the user's keys are left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("signing") / "keys"))
        yield
