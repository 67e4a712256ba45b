"""`golden.npz`: a case of every graph with its outputs, which whoever opens it must meet."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbrl_control.deployment.check import GOLDEN, CheckedBundle, golden_prefix
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.session import Float32, worst_difference

_TOLERANCE = 1e-4
"""Golden outputs come from another CPU's vector units: ten times the export's parity."""


def require_extended(bundle: CheckedBundle) -> None:
    """BundleError where graphs are asked for that only an extended bundle has."""
    if not bundle.manifest.extended:
        version = bundle.manifest.version
        raise BundleError(
            f"{bundle.path}: has no graphs for the trust, particles, obstacles or derivatives that the settings "
            f"ask for; make them: mbrl-control models extend {version} --robot {bundle.manifest.robot} "
            f"--command {bundle.manifest.command_interface} --registry {bundle.path.parent.parent}"
        )


def golden_case(bundle: CheckedBundle, graph: str) -> dict[str, Float32]:
    """Inputs and outputs that were stored for the file ``graph``."""
    prefix = f"{golden_prefix(graph)}."
    try:
        with np.load(io.BytesIO(bundle.content[GOLDEN]), allow_pickle=False) as archive:
            return {key.removeprefix(prefix): archive[key] for key in archive.files if key.startswith(prefix)}
    except (ValueError, OSError) as error:
        raise BundleError(f"{bundle.path / GOLDEN}: cannot be read ({error}); export the bundle again") from error


def compare(
    out: Mapping[str, NDArray[np.floating]], golden: Mapping[str, Float32], outputs: tuple[str, ...], place: Path
) -> None:
    """BundleError where outputs are not those that were stored."""
    output, value = worst_difference(out, golden, outputs)
    if value > _TOLERANCE:
        raise BundleError(f"{place}: {output}: differs from golden.npz by {value:.2e} on this CPU; export it here")
