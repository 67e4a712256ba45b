"""The model that a run begins with: the bundle shipped for its arm where that fits, else the prior alone.

Shipped bundles are data of the package and never written: a run works on a copy in a registry of its own.
"""

from __future__ import annotations

from pathlib import Path

from mbrl_control.cli.locations import shipped_models
from mbrl_control.cli.session import Session, run_verb
from mbrl_control.deployment.check import MANIFEST, read_bundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.files import write_folder
from mbrl_control.deployment.manifest import Manifest
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.trial import try_bundle
from mbrl_control.robot import Arm, load_arm


def prepare(session: Session) -> str:
    """See to it that the run's registry has an active bundle; say which model that is, and why."""
    if session.foreign_registry is not None:
        return f"model: the active bundle of {session.foreign_registry}"
    arm = load_arm(session.arm, session.wiring.command)
    models = shipped_models()
    try:
        if session.wiring.real:
            raise BundleError("shipped bundles have learned a simulated arm; give a registry to use one all the same")
        manifest = copy_shipped(models, arm, Registry(session.registry, arm.model_name))
    except BundleError as reason:
        run_verb(["models", "prior", *session.model_options])
        return f"model: the prior alone, nothing learned ({reason})"
    changed = "" if manifest.arm_sha256 == arm.sha256 else "; the arm's files have changed since, but not what it holds"
    return f"model: {manifest.model_id} of {models}, learned in simulation{changed}"


def copy_shipped(models: Path, arm: Arm, own: Registry) -> Manifest:
    """Check the active bundle of ``models`` as its users will, copy it into ``own`` and activate it there.

    Raises:
        BundleError: there is none for the arm and its command interface, or it does not fit them; nothing is copied.
    """
    shipped = Registry(models, arm.model_name)
    version = shipped.active()
    if version is None:
        raise BundleError(f"{shipped.folder}: no bundle is shipped for this arm and command interface")
    # An installation may consist of links (colcon's --symlink-install), which a bundle itself may not.
    folder = (shipped.path(version) / MANIFEST).resolve().parent
    bundle = read_bundle(folder, arm)
    try_bundle(bundle)
    write_folder(own.path(version), bundle.content)
    own.activate(version)
    return bundle.manifest
