"""`signature.json`: a detached Ed25519 signature (RFC 8032) over `manifest.json`, which has the hash of every file.

Signed are the manifest's bytes as they lie there, behind a line that says what they are: a signature made for
something else never fits. The file has one spelling, so that no byte of it can change unnoticed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from mbrl_control.deployment.errors import KeysError
from mbrl_control.deployment.keys import FOLDER_VARIABLE, Keys, id_of
from mbrl_control.deployment.manifest import Sha256

SIGNATURE = "signature.json"
_MEANT = b"mbrl_control bundle manifest, signature format 1\n"


class _Signature(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal[1] = 1
    key_id: Sha256
    signature: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]

    def spelled(self) -> bytes:
        return (self.model_dump_json(indent=1) + "\n").encode()


def signing_key(keys: Keys, models: Path) -> Ed25519PrivateKey:
    """The user's own key, made on first use, for bundles of the registry ``models``.

    KeysError where the keys lie in there: they would be handed on with the bundles. Nothing is made then.
    """
    if keys.folder.resolve().is_relative_to(models.resolve()):
        raise KeysError(f"{keys.folder}: lies in the registry {models}; set {FOLDER_VARIABLE} to a folder outside")
    return keys.own()


def sign(manifest: bytes, keys: Keys, models: Path) -> bytes:
    """Content of `SIGNATURE` for these bytes of a manifest; KeysError as `signing_key`."""
    key = signing_key(keys, models)
    return _Signature(key_id=id_of(key.public_key()), signature=key.sign(_MEANT + manifest).hex()).spelled()


def require_signed(place: Path, manifest: bytes, signature: bytes, keys: Keys) -> str:
    """Id of the trusted key that vouches for ``manifest``; KeysError names ``place`` and the remedy."""
    try:
        said = _Signature.model_validate_json(signature)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "json"
        raise KeysError(f"{place}: {field}: {first['msg']}; copy the bundle again") from error
    if said.spelled() != signature:
        raise KeysError(f"{place}: is not spelled as it was written; copy the bundle again")
    try:
        public = keys.vouching(said.key_id)
    except KeysError as error:
        raise KeysError(
            f"{place}: key_id: {error}; if you know who signed it: mbrl-control models keys trust FILE with their "
            "public key, or sign it yourself: mbrl-control models sign"
        ) from error
    try:
        public.verify(bytes.fromhex(said.signature), _MEANT + manifest)
    except InvalidSignature as error:
        raise KeysError(
            f"{place}: signature: does not fit {place.parent / 'manifest.json'}, one of both was changed; "
            "copy the bundle again"
        ) from error
    return said.key_id
