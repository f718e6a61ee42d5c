"""`kg-service keys`: creates, lists and revokes the service's keys."""

from __future__ import annotations

from typing import Annotated

import typer

from kg_service.cli.options import Data, KeysFile, settings_of
from kg_service.cli.shown.console import stderr

keys_app = typer.Typer(no_args_is_help=True, help="Create, list and revoke the service's keys.")


@keys_app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Owner of the key.")],
    scope: Annotated[list[str], typer.Option(help="read, ingest or admin (everything); repeatable.")],
    data: Data = None,
    keys_file: KeysFile = None,
) -> None:
    """Create a key and print it once: only its digest is stored. A running service accepts it at once.

    `kg-service keys add trainer --scope read`, then `curl -H "Authorization: Bearer KEY" …`
    """
    from kg_service.app.keys import add_key

    settings = settings_of(data=data, keys_file=keys_file)
    secret = add_key(settings.keys_path, name, scope)
    stderr().print(f"stored in {settings.keys_path}; keep this key, because it is not shown again:", soft_wrap=True)
    typer.echo(secret)


@keys_app.command("list")
def list_keys(data: Data = None, keys_file: KeysFile = None) -> None:
    """List the names and scopes of the keys."""
    from kg_service.app.keys import read_keys

    path = settings_of(data=data, keys_file=keys_file).keys_path
    for key in read_keys(path) if path.exists() else ():
        typer.echo(f"{key.name} {','.join(key.scopes)} sha256:{key.sha256[:12]}…")


@keys_app.command("remove")
def remove(name: Annotated[str, typer.Argument(help="Owner of the key.")], data: Data = None, keys_file: KeysFile = None) -> None:
    """Revoke a key. A running service refuses it from now on.

    To rotate keys, `keys add` the new one, give it to its users, then `keys remove` the old one. Without the last key nobody gets
    in until the next `keys add`.
    """
    from kg_service.app.keys import remove_key

    path = settings_of(data=data, keys_file=keys_file).keys_path
    if not remove_key(path, name):
        left = "no key is left: the service refuses every request until you make one: kg-service keys add NAME --scope read"
        stderr().print(left, soft_wrap=True)
