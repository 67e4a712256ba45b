"""An environment of their own for the libraries that ours is compared with: `.venv-peers` of the checkout.

mbrl-lib 0.2.0 needs an old pip, and pins a hydra that cannot be imported by Python 3.11; its successor serves it. torch
and NumPy are ours (our packages are found behind theirs), so that what differs is the library, and a second torch is
neither downloaded nor unpacked.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
_FOLDER = CHECKOUT / ".venv-peers"
_STEPS = (
    ("pip<24.1", "setuptools<70", "wheel"),
    ("--no-build-isolation", "mbrl==0.2.0", "pytorch-mppi==0.9.1", "-c", str(CHECKOUT / "constraints.txt")),
    ("--no-deps", "hydra-core==1.3.2", "omegaconf==2.3.0"),
)


def peers_python() -> Path:
    """The interpreter of the peers, installed on first use; CalledProcessError says what pip could not do."""
    python, stamp = _FOLDER / "bin/python", _FOLDER / ".steps"
    # One that was moved, or made beside another environment of ours, no longer finds our packages.
    made = repr((_STEPS, sys.version, str(_FOLDER), sysconfig.get_path("purelib")))
    with open(__file__) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (stamp.exists() and stamp.read_text() == made):
            print("installing the peers into .venv-peers (once, minutes)", file=sys.stderr)
            venv.create(_FOLDER, clear=True, with_pip=True)
            theirs = sysconfig.get_path("purelib", "venv", {"base": str(_FOLDER)})
            Path(theirs, "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
            for packages in _STEPS:
                command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
                subprocess.run(command, check=True, stdout=sys.stderr)
            stamp.write_text(made)
    return python
