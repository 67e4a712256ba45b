"""What `make setup` finds out about an environment that is there: whole, changed, moved, in use by another set-up."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import HUNG_S

SCRIPT = Path(__file__).parents[2] / ".ci" / "setup.sh"


def call(folder: Path, commands: str) -> subprocess.CompletedProcess[str]:
    """The script's functions in ``folder``, without its main flow."""
    code = f"source <(sed '/^case /,$d' '{SCRIPT}'); {commands}"
    command = ["bash", "-c", code, str(folder / ".ci" / "setup.sh")]
    return subprocess.run(command, capture_output=True, text=True, timeout=HUNG_S, check=False)


def install(folder: Path, name: str, version: str) -> Path:
    info = folder / ".venv" / "lib" / "python3.11" / "site-packages" / f"{name}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return info


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with an environment of two packages, as set-up leaves it."""
    folder = tmp_path / "a checkout"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(SCRIPT, folder / ".ci")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / ".venv")], check=True)
    install(folder, "arm", "1.0")
    install(folder, "mbrl_msgs", "0.1.0")
    (folder / ".venv" / ".mbrl-messages").touch()
    assert call(folder, 'list_packages >"$venv/.mbrl-installed"').returncode == 0
    return folder


def test_an_untouched_environment_is_whole(checkout: Path) -> None:
    done = call(checkout, "is_here && is_whole")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_own_additions_are_fine(checkout: Path) -> None:
    install(checkout, "mine", "3.0")
    assert call(checkout, "is_whole").returncode == 0


def test_another_version_and_a_missing_package_are_repaired(checkout: Path) -> None:
    install(checkout, "arm", "2.0")
    done = call(checkout, "is_whole")
    assert done.returncode == 1
    assert "repairing what is gone or changed: arm==1.0" in done.stdout
    assert (checkout / ".venv" / ".mbrl-messages").exists()


def test_missing_messages_are_built_again(checkout: Path) -> None:
    shutil.rmtree(install(checkout, "mbrl_msgs", "0.1.0"))
    assert call(checkout, "is_whole").returncode == 1
    assert not (checkout / ".venv" / ".mbrl-messages").exists()


def test_an_environment_of_which_nothing_is_known_is_not_whole(checkout: Path) -> None:
    (checkout / ".venv" / ".mbrl-installed").unlink()
    assert call(checkout, "is_whole").returncode == 1


def test_a_moved_checkout_is_noticed_and_a_linked_environment_is_not_taken_for_one(checkout: Path) -> None:
    linked = checkout.parent / "linked"
    (linked / ".ci").mkdir(parents=True)
    (linked / ".venv").symlink_to(checkout / ".venv")
    assert call(linked, "is_here").returncode == 0
    moved = checkout.rename(checkout.parent / "moved")
    assert call(moved, "is_here").returncode == 1


def test_a_second_set_up_waits_for_the_first(checkout: Path) -> None:
    assert call(checkout, "one_at_a_time; one_at_a_time; echo in").stdout == "in\n"
    held = f"exec 8<'{checkout}/.ci/setup.sh'; flock 8; "
    done = call(checkout, f"{held} (sleep 1; flock -u 8) & sleep 0.3; one_at_a_time; echo in")
    assert done.stdout == "set-up: waiting for another one in this folder\nin\n"
