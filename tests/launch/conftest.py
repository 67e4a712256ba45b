"""Every test here runs launch files: without their slow part, and without leaving anything in the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from mbrl_control.cadence import ANCHOR_VARIABLE, FACTOR_VARIABLE
from mbrl_control.cli import launching
from mbrl_control.cli.transports import DISCOVERY_VARIABLES


@pytest.fixture(autouse=True)
def quick_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No bundle is exported (its export has its own tests), and relative paths end in the test's folder."""
    monkeypatch.setattr(launching, "prepare", lambda _: "")
    monkeypatch.chdir(tmp_path)
    for name in (ANCHOR_VARIABLE, FACTOR_VARIABLE, "ROS_DOMAIN_ID", *DISCOVERY_VARIABLES):
        monkeypatch.delenv(name, raising=False)
