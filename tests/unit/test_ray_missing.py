"""Without Ray, or without a cluster: an error that names the extra, or the address, and what to do."""

from __future__ import annotations

import sys

import pytest

from mbrl_control.learning.errors import ScaleOutError
from mbrl_control.learning.ray_fit import connected


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    told = r"--ray local: Ray is not installed; pip install 'mbrl_control\[ray\]'"
    with pytest.raises(ScaleOutError, match=told), connected("local"):
        pass


def test_an_address_where_nobody_answers_is_named() -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
    with pytest.raises(ScaleOutError, match="--ray nowhere: no connection"), connected("nowhere"):
        pass
