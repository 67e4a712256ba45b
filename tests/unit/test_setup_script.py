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
    shutil.copy(SCRIPT.with_name("environments.sh"), folder / ".ci")
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
    shutil.copytree(checkout / ".ci", linked / ".ci")
    (linked / ".venv").symlink_to(checkout / ".venv")
    assert call(linked, "is_here").returncode == 0
    moved = checkout.rename(checkout.parent / "moved")
    assert call(moved, "is_here").returncode == 1


def test_a_kept_environment_serves_another_clone_with_that_clones_code(checkout: Path) -> None:
    """As pip leaves an editable package: a finder with the folder, and the folder's address."""
    packages = checkout / ".venv" / "lib" / "python3.11" / "site-packages"
    (packages / "__editable___arm_finder.py").write_text(f"MAPPING = {{'arm': '{checkout}/arm'}}\n")
    (packages / "arm.dist-info" / "direct_url.json").write_text(f'{{"url": "file://{checkout}"}}')
    script = checkout / ".venv" / "bin" / "tool"
    script.write_text(f"#!{checkout}/.venv/bin/python\n")
    (checkout / ".venv" / ".mbrl-home").write_text(str(checkout))
    other = checkout.parent / "another" / "clone"
    shutil.copytree(checkout / ".ci", other / ".ci")
    kept = f"MBRL_ENVIRONMENTS='{checkout.parent}/kept'"
    assert call(checkout, f"{kept}; keep_environment cpu-1").returncode == 0
    done = call(other, f"{kept}; restore_environment cpu-1 && is_here && is_whole")
    assert (done.returncode, done.stderr) == (0, "")
    found = [path for path in (other / ".venv").rglob("*") if path.is_file() and not path.is_symlink()]
    naming = [path.name for path in found if str(other).encode() in path.read_bytes()]
    assert {"__editable___arm_finder.py", "direct_url.json", "tool", "pyvenv.cfg"} <= {*naming}
    left = [path.name for path in found if str(checkout).encode() in path.read_bytes()]
    assert left == [], "these still name the clone that the environment was made in"


def test_a_second_set_up_waits_for_the_first(checkout: Path) -> None:
    assert call(checkout, "one_at_a_time; one_at_a_time; echo in").stdout == "in\n"
    held = f"exec 8<'{checkout}/.ci/setup.sh'; flock 8; : >told; "
    freed = "(until grep -q waiting told; do sleep 0.1; done; flock -u 8) & "
    done = call(checkout, f"{held} {freed} one_at_a_time >told; kill $! || true; cat told; echo in")
    assert done.stdout == "set-up: waiting for another one in this folder\nin\n"
