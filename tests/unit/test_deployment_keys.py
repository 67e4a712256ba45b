"""Keys: made once, for their user alone, and refused by name where others could read or exchange them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mbrl_control.deployment.errors import KeysError
from mbrl_control.deployment.keys import Keys, default_folder, id_of
from mbrl_control.deployment.signing import sign


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def public_file(folder: Path, key: Ed25519PrivateKey | X25519PrivateKey) -> Path:
    path = folder / "public.pem"
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"MBRL_KEYS": "/k", "XDG_CONFIG_HOME": "/x"}, "/k"),
        ({"XDG_CONFIG_HOME": "/x"}, "/x/mbrl_control/keys"),
        ({"XDG_CONFIG_HOME": "relative"}, f"{Path.home()}/.config/mbrl_control/keys"),
        ({}, f"{Path.home()}/.config/mbrl_control/keys"),
    ],
    ids=str,
)
def test_the_folder_is_the_users_configuration(environment: dict[str, str], folder: str) -> None:
    assert default_folder(environment) == Path(folder)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(KeysError, match=r"home directory\. Set MBRL_KEYS"):
        default_folder({})
    assert default_folder({"MBRL_KEYS": "/k"}) == Path("/k")


def test_looking_makes_nothing_and_signing_makes_one_pair_for_its_user_alone(keys: Keys) -> None:
    assert (keys.own_id(), keys.trusted(), keys.revoked()) == (None, {}, {})
    assert not keys.folder.exists()
    before = os.umask(0)
    try:
        first = keys.own()
    finally:
        os.umask(before)
    assert {mode(path) for path in (keys.folder, keys.folder / "trusted", keys.folder / "revoked")} == {0o700}
    assert mode(keys.folder / "signing.pem") == 0o600
    assert sorted(path.name for path in keys.folder.iterdir()) == ["revoked", "signing.pem", "trusted"], "no draft"
    again = Keys(keys.folder)
    assert again.own().private_bytes_raw() == first.private_bytes_raw()
    assert list(again.trusted()) == [again.own_id()] == [id_of(first.public_key())]


def test_a_key_whose_making_was_interrupted_is_trusted_at_its_next_use(keys: Keys) -> None:
    key_id = id_of(keys.own().public_key())
    keys.trusted()[key_id].unlink()
    with pytest.raises(KeysError, match="not among the trusted"):
        keys.vouching(key_id)
    keys.own()
    assert id_of(keys.vouching(key_id)) == key_id


def swap_for_link(path: Path) -> None:
    outside = path.with_name("outside")
    path.rename(outside)
    path.symlink_to(outside)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "key read by the group": (
        lambda folder: (folder / "signing.pem").chmod(0o640),
        r"signing\.pem: mode 640.*chmod 600",
    ),
    "key read by all": (lambda folder: (folder / "signing.pem").chmod(0o604), r"signing\.pem: mode 604"),
    "folder open": (lambda folder: folder.chmod(0o750), r"keys: mode 750 .*chmod 700"),
    "trusted written by all": (lambda folder: (folder / "trusted").chmod(0o707), r"trusted: mode 707"),
    "key a link": (lambda folder: swap_for_link(folder / "signing.pem"), r"signing\.pem: is a link"),
    "trusted a link": (lambda folder: swap_for_link(folder / "trusted"), r"trusted: is a link"),
    "folder a link": (swap_for_link, r"keys: is a link"),
    "key cut off": (lambda folder: os.truncate(folder / "signing.pem", 60), r"signing\.pem: is no key in PEM"),
    "key a folder": (
        lambda folder: ((folder / "signing.pem").unlink(), (folder / "signing.pem").mkdir()),
        r"signing\.pem: is a link or no plain file",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_keys_that_others_could_read_or_exchange_are_refused_by_name(name: str, keys: Keys) -> None:
    keys.own()
    break_it, message = BROKEN[name]
    break_it(keys.folder)
    with pytest.raises(KeysError, match=message):
        keys.own()
    with pytest.raises(KeysError, match=message):
        keys.own_id()


def test_a_key_is_neither_made_in_a_repository_nor_used_in_a_registry(tmp_path: Path) -> None:
    (tmp_path / "checkout" / ".git").mkdir(parents=True)
    inside = Keys(tmp_path / "checkout" / "config" / "keys")
    with pytest.raises(KeysError, match=r"lies in the repository .*MBRL_KEYS"):
        inside.own()
    assert not inside.folder.parent.exists()
    inside.folder.mkdir(mode=0o700, parents=True)
    with pytest.raises(KeysError, match=r"lies in the repository"):
        inside.own()
    assert inside.own_id() is None
    with pytest.raises(KeysError, match=r"lies in the registry .*MBRL_KEYS"):
        sign(b"", Keys(tmp_path / "models" / "keys"), tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_trusting_and_revoking_another(keys: Keys, tmp_path: Path) -> None:
    other = Ed25519PrivateKey.generate()
    key_id = keys.trust(public_file(tmp_path, other))
    assert id_of(keys.vouching(key_id)) == key_id == id_of(other.public_key())
    for start in (key_id[:7], "0" * 64):
        with pytest.raises(KeysError, match="keys list"):
            keys.revoke(start)
    assert keys.revoke(key_id[:8]) == (key_id, False)
    with pytest.raises(KeysError, match="was revoked"):
        keys.vouching(key_id)
    with pytest.raises(KeysError, match="holds the revoked key"):
        keys.trust(tmp_path / "public.pem")
    assert (list(keys.trusted()), list(keys.revoked())) == ([], [key_id])


def test_an_own_key_that_is_revoked_never_signs_again(keys: Keys) -> None:
    private = keys.own()
    old = id_of(private.public_key())
    kept = (keys.folder / "signing.pem").read_bytes()
    assert keys.revoke(old) == (old, True)
    new = id_of(keys.own().public_key())
    assert new != old
    assert (list(keys.trusted()), list(keys.revoked())) == ([new], [old])
    (keys.folder / "signing.pem").write_bytes(kept)
    with pytest.raises(KeysError, match="of the revoked key"):
        keys.own()


def test_what_is_no_ed25519_public_key_is_not_trusted(keys: Keys, tmp_path: Path) -> None:
    keys.own()
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("ssh-ed25519 AAAA")
    faults = {
        wrong: "no key in PEM",
        keys.folder / "signing.pem": "holds a private key",
        public_file(tmp_path, X25519PrivateKey.generate()): "no Ed25519 public key",
        tmp_path / "absent.pem": "cannot be read",
    }
    for file, message in faults.items():
        with pytest.raises(KeysError, match=message):
            keys.trust(file)
    assert len(keys.trusted()) == 1


def test_a_trusted_file_by_another_keys_name_vouches_for_nobody(keys: Keys, tmp_path: Path) -> None:
    own = id_of(keys.own().public_key())
    keys.trusted()[own].write_bytes(public_file(tmp_path, Ed25519PrivateKey.generate()).read_bytes())
    with pytest.raises(KeysError, match=r"\.pem: holds the key"):
        keys.vouching(own)
