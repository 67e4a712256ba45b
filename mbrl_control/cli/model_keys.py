"""`mbrl-control models keys`: whose bundles are accepted on this machine, by this user."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Keys that bundles are signed with. Example: mbrl-control models keys list", no_args_is_help=True
)


@app.command("list")
def list_keys() -> None:
    """The keys that are trusted or revoked, and the files to hand to others; nothing is made.

    Example: mbrl-control models keys list
    """
    from mbrl_control.deployment.keys import Keys

    keys = Keys()
    own = keys.own_id()
    for key_id, path in keys.trusted().items():
        typer.echo(f"{'own' if key_id == own else 'trusted':8} {key_id} {path}")
    for key_id, path in keys.revoked().items():
        typer.echo(f"{'revoked':8} {key_id} {path}")
    if own is None:
        typer.echo(f"no own key in {keys.folder} yet: it is made when something is first signed")


@app.command()
def trust(
    file: Annotated[Path, typer.Argument(help="Public key (PEM), from the other's `models keys list`.")],
) -> None:
    """Accept the bundles of another user or machine from now on. Compare the id with its owner before.

    Example: mbrl-control models keys trust trainer.pem
    """
    from mbrl_control.deployment.keys import Keys

    typer.echo(f"trusted  {Keys().trust(file)}")


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Id of a trusted key, or its first characters, 8 at least.")],
) -> None:
    """Refuse all bundles by a key, those in registries too; a running graph keeps what it has loaded.

    An own key is deleted: the next signature makes a new one. Bundles that you still vouch for: `models sign`.

    Example: mbrl-control models keys revoke 3f9a61c0
    """
    from mbrl_control.deployment.keys import Keys

    key_id, own = Keys().revoke(key)
    typer.echo(f"revoked  {key_id}")
    if own:
        typer.echo("it was your own: its private half is deleted, the next signature makes a new key", err=True)
