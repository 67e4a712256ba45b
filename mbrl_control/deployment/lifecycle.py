"""A bundle's life after its export: signed, tried, made active or a candidate first, left again. See docs/models.md."""

from __future__ import annotations

from pathlib import Path

from mbrl_control.deployment.check import MANIFEST, CheckedBundle, read_bundle, read_unsigned
from mbrl_control.deployment.files import replace_file, write_folder
from mbrl_control.deployment.keys import Keys
from mbrl_control.deployment.registry import ANY, Registry, Whatever
from mbrl_control.deployment.signing import SIGNATURE, sign
from mbrl_control.deployment.trial import TrialResult, try_bundle
from mbrl_control.robot import Arm


def promote(
    registry: Registry, version: int, arm: Arm, keys: Keys | None = None, instead_of: int | Whatever | None = ANY
) -> TrialResult:
    """Verify, try and activate, whatever spoke against it before; a BundleError leaves what is active as it was.

    ``instead_of``: refused unless that one is active still; None: unless nothing is.
    """
    tried = try_bundle(read_bundle(registry.path(version), arm, keys))
    registry.activate(version, instead_of)
    return tried


def shadow(registry: Registry, version: int, windows: int, arm: Arm, keys: Keys | None = None) -> TrialResult:
    """Verify, try, and make it the candidate: the model node compares it on live motion before it may run.

    ``windows``: of motion until the first decision. A BundleError leaves candidate and active one as they were.
    """
    tried = try_bundle(read_bundle(registry.path(version), arm, keys))
    registry.propose(version, windows)
    return tried


def roll_back(registry: Registry, arm: Arm, keys: Keys | None = None, instead_of: int | Whatever | None = ANY) -> int:
    """Return to the version active before, which had its trial then; its number. BundleError where nothing fits.

    ``instead_of``: refused unless that one is active still.
    """
    active = registry.active() if instead_of is ANY else instead_of
    read_bundle(registry.path(registry.before()), arm, keys)
    return registry.rollback(active)


def sign_bundle(registry: Registry, version: int, arm: Arm, keys: Keys | None = None) -> CheckedBundle:
    """Vouch for a bundle that came without a signature that counts: all else is checked and tried first."""
    bundle = read_unsigned(registry.path(version), arm)
    try_bundle(bundle)
    signature = sign(bundle.content[MANIFEST], keys or Keys(), registry.models)
    # Whoever reads the bundle meanwhile would refuse it for a file that does not belong there.
    replace_file(bundle.path / SIGNATURE, signature, drafts=registry.folder)
    return read_bundle(bundle.path, arm, keys)


def import_bundle(source: Path, registry: Registry, arm: Arm, keys: Keys | None = None) -> CheckedBundle:
    """Take in a bundle that was made elsewhere, under the number that its maker signed; it is not activated.

    ``source``: its folder, named by its version. BundleError, KeysError among them, where nobody trusted vouches for
    it, it fails its trial, or its number is not free here: nothing is written then.
    """
    bundle = read_bundle(source, arm, keys)
    try_bundle(bundle)
    version = bundle.manifest.version
    registry.require_free(version)
    write_folder(registry.path(version), bundle.content)
    registry.note_taken(version)
    return read_bundle(registry.path(version), arm, keys)
