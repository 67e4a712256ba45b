"""Who may sign bundles for this user: one own key pair, and the public keys that are trusted or revoked.

`<folder>/signing.pem` is the own private key (Ed25519, RFC 8032), made when something is first signed.
`<folder>/trusted/<key id>.pem` are public keys whose bundles are accepted, the own one among them;
`<folder>/revoked/<key id>.pem` are refused whatever else is said of them. A key's id is the SHA-256 of its 32 bytes.
The folder belongs to the user, never to a repository or a registry: whoever writes bundles could else vouch for them.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mbrl_control.deployment.errors import KeysError
from mbrl_control.deployment.files import replace_file
from mbrl_control.deployment.plain import NotPlain, read_plain

FOLDER_VARIABLE = "MBRL_KEYS"
_OWN, _TRUSTED, _REVOKED = "signing.pem", "trusted", "revoked"
_LARGEST = 4096
_OTHERS = 0o077
_SHORTEST = 8


def default_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """$MBRL_KEYS, else mbrl_control/keys in the user's configuration (XDG Base Directory Specification 0.8)."""
    said = environment.get(FOLDER_VARIABLE, "")
    if said:
        return Path(said).absolute()
    configured = Path(environment.get("XDG_CONFIG_HOME", ""))
    try:
        base = configured if configured.is_absolute() else Path.home() / ".config"
    except RuntimeError as error:  # a user without a home, as services and containers have them
        raise KeysError(f"keys: {error} Set {FOLDER_VARIABLE} to a folder of this user alone") from error
    return base / "mbrl_control" / "keys"


class Keys:
    """The keys below ``folder``. Reading makes nothing; KeysError where another user could read or exchange a key."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = default_folder() if folder is None else folder

    def folders(self) -> tuple[Path, ...]:
        """What changes when a key is made, trusted, revoked or forgotten."""
        return (self.folder, self.folder / _TRUSTED, self.folder / _REVOKED)

    def own(self) -> Ed25519PrivateKey:
        """What this user signs with, made on first use; its public half is trusted."""
        self._make_folders()
        path = self.folder / _OWN
        if not os.path.lexists(path):
            _refuse_repository(self.folder)  # also of a folder that somebody made beforehand
            self._make_pair()
        key = _private_key(path)
        key_id = id_of(key.public_key())
        if os.path.lexists(self._place(_REVOKED, key_id)):
            raise KeysError(f"{path}: is the private half of the revoked key {key_id}; delete it, the next one is new")
        if not os.path.lexists(self._place(_TRUSTED, key_id)):  # made just now, or interrupted while it was made
            replace_file(self._place(_TRUSTED, key_id), _public_pem(key.public_key()))
        return key

    def own_id(self) -> str | None:
        """Id of the own key; None before its first use."""
        path = self.folder / _OWN
        return id_of(_private_key(path).public_key()) if self._there() and os.path.lexists(path) else None

    def vouching(self, key_id: str) -> Ed25519PublicKey:
        """The trusted public key of that id; KeysError for a revoked or unknown one."""
        if not self._there():
            raise KeysError(f"key {key_id} is unknown: {self.folder} has no keys yet")
        if os.path.lexists(self._place(_REVOKED, key_id)):
            raise KeysError(f"key {key_id} was revoked")
        if not os.path.lexists(self._place(_TRUSTED, key_id)):
            raise KeysError(f"key {key_id} is not among the trusted ones in {self.folder / _TRUSTED}")
        return self._named(self._place(_TRUSTED, key_id))

    def trusted(self) -> dict[str, Path]:
        """Files of the trusted keys by id."""
        return self._listed(_TRUSTED)

    def revoked(self) -> dict[str, Path]:
        """Files of the revoked keys by id."""
        return self._listed(_REVOKED)

    def trust(self, file: Path) -> str:
        """Accept bundles by the public key in ``file`` (PEM) from now on; its id."""
        self._make_folders()
        public = _public_key(file)
        key_id = id_of(public)
        revoked = self._place(_REVOKED, key_id)
        if os.path.lexists(revoked):
            raise KeysError(f"{file}: holds the revoked key {key_id}; if that was a mistake delete {revoked} first")
        replace_file(self._place(_TRUSTED, key_id), _public_pem(public))
        return key_id

    def revoke(self, start: str) -> tuple[str, bool]:
        """Refuse all bundles by the trusted key whose id starts so; its id, and whether it was the own one.

        An own private key is deleted with it: nothing may be signed by a key that is refused.
        """
        found = [key_id for key_id in self.trusted() if len(start) >= _SHORTEST and key_id.startswith(start)]
        if len(found) != 1:
            raise KeysError(
                f"key {start!r}: {'several' if found else 'no'} trusted keys start so in {self.folder / _TRUSTED}; "
                f"give {_SHORTEST} or more characters of one: mbrl-control models keys list"
            )
        (key_id,), own = found, self.own_id()
        self._make_folders()
        replace_file(self._place(_REVOKED, key_id), _public_pem(self._named(self._place(_TRUSTED, key_id))))
        self._place(_TRUSTED, key_id).unlink()
        if own == key_id:
            (self.folder / _OWN).unlink()
        return key_id, own == key_id

    def _there(self) -> bool:
        """False before the first use; KeysError where the folders are not the user's alone."""
        if not os.path.lexists(self.folder):
            return False
        for folder in (self.folder, self.folder / _TRUSTED, self.folder / _REVOKED):
            if os.path.lexists(folder):
                _require_private(folder, folder.lstat(), stat.S_ISDIR, "700")
        return True

    def _make_folders(self) -> None:
        if not os.path.lexists(self.folder):
            _refuse_repository(self.folder)
            self.folder.parent.mkdir(parents=True, exist_ok=True)
        for folder in (self.folder, self.folder / _TRUSTED, self.folder / _REVOKED):
            if not os.path.lexists(folder):
                folder.mkdir(mode=0o700, exist_ok=True)
        self._there()

    def _make_pair(self) -> None:
        """Whole or not at all, and the first of several processes wins."""
        handle, draft = tempfile.mkstemp(prefix=".draft-", dir=self.folder)  # of mode 0600
        try:
            with open(handle, "wb") as file:
                file.write(_private_pem(Ed25519PrivateKey.generate()))
                file.flush()
                os.fsync(handle)
            if not os.path.lexists(self.folder / _OWN):
                os.link(draft, self.folder / _OWN)
        except FileExistsError:
            return  # another process was first: its key is as good
        finally:
            os.unlink(draft)

    def _place(self, kind: str, key_id: str) -> Path:
        return self.folder / kind / f"{key_id}.pem"

    def _listed(self, kind: str) -> dict[str, Path]:
        if not self._there() or not (self.folder / kind).is_dir():
            return {}
        files = sorted((self.folder / kind).glob("[!.]*.pem"))
        return {id_of(self._named(path)): path for path in files}

    @staticmethod
    def _named(path: Path) -> Ed25519PublicKey:
        public = _public_key(path)
        if id_of(public) != path.stem:
            raise KeysError(f"{path}: holds the key {id_of(public)}; give the file its key's name, or delete it")
        return public


def id_of(public: Ed25519PublicKey) -> str:
    """SHA-256 of the key's 32 bytes, in hexadecimal digits."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()


def _private_key(path: Path) -> Ed25519PrivateKey:
    data, status = _read(path)
    _require_private(path, status, stat.S_ISREG, "600")
    key = _parsed(path, lambda: serialization.load_pem_private_key(data, None))
    if not isinstance(key, Ed25519PrivateKey):
        raise KeysError(f"{path}: holds no Ed25519 private key; move it away, the next signature makes a new one")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    data, _ = _read(path)
    if b"PRIVATE KEY" in data:
        raise KeysError(f"{path}: holds a private key, which never leaves its owner; give the public one")
    key = _parsed(path, lambda: serialization.load_pem_public_key(data))
    if not isinstance(key, Ed25519PublicKey):
        raise KeysError(f"{path}: holds no Ed25519 public key; give one that `models keys list` shows")
    return key


def _parsed(path: Path, parse: Callable[[], object]) -> object:
    try:
        return parse()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeysError(f"{path}: is no key in PEM ({error}); copy it again") from error


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    try:
        return read_plain(path, _LARGEST)
    except NotPlain as error:
        raise KeysError(f"{path}: {error}; put the key itself there") from error
    except OSError as error:
        raise KeysError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error


def _require_private(path: Path, status: os.stat_result, kind: Callable[[int], bool], mode: str) -> None:
    if not kind(status.st_mode):
        raise KeysError(f"{path}: is a link or of another kind than expected; put the folder or file itself there")
    if status.st_uid not in (os.geteuid(), 0):
        raise KeysError(f"{path}: belongs to user {status.st_uid}; chown it, or set {FOLDER_VARIABLE} to an own folder")
    if status.st_mode & _OTHERS:
        found = stat.S_IMODE(status.st_mode)
        raise KeysError(f"{path}: mode {found:o} lets others in; chmod {mode} it, and revoke the key if they were")


def _refuse_repository(folder: Path) -> None:
    """A key that is committed is everybody's."""
    whole = folder.resolve()
    repository = next((above for above in (whole, *whole.parents) if (above / ".git").exists()), None)
    if repository is not None:
        raise KeysError(f"{folder}: lies in the repository {repository}; set {FOLDER_VARIABLE} to a folder outside")


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def _public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
