"""What a DNS server would refuse to start with: options that its parts read by themselves, all faults at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from dns_server.access import Access
from dns_server.build import allowed, root_address, zone_files
from dns_server.config import Config
from dns_server.cookies import read_secrets
from dns_server.grants import read_grants
from dns_server.hindered_asking import server_names
from dns_server.places import Place, zone_places
from dns_server.replication import secondary_zones
from dns_server.rrl import exempt
from dns_server.rules.names import to_text
from dns_server.tsig import Keyring
from dns_server.tsig_keys import read_keys
from stack.errors import ConfigError

T = TypeVar("T")


def faults(config: Config) -> Iterator[tuple[tuple[str, ...], ConfigError]]:
    """Each with the path of its option. Files of keys and secrets are read, zone files are not."""
    files, fault = _tried(partial(zone_files, config))
    if fault:
        yield ("zone",), fault
    fetched, fault = _tried(partial(secondary_zones, config))
    if fault:
        yield ("secondary",), fault
    for origin in {name.lower() for name in fetched or ()} & {name.lower() for name in files or ()}:
        yield ("secondary",), ConfigError(f"{to_text(origin)} is one of `zone` too: it comes from one of them")
    keys, fault = _tried(partial(read_keys, config.tsig_key))
    if fault:
        yield ("tsig_key",), fault
    # with a faulty file of keys nobody knows which there are
    known = None if keys is None else {key.name for key in keys}
    for text in config.update:
        if fault := _tried(partial(read_grants, [text], known))[1]:
            yield ("update",), fault
    allow, notify = config.transfer.allow, config.transfer.notify_from
    places: tuple[tuple[tuple[str, ...], str, Callable[[], set[bytes]]], ...] = (
        (("transfer", "allow"), "--transfer-allow", lambda: Access(allow, "--transfer-allow").keys),
        (("transfer", "notify_from"), "--transfer-notify-from", lambda: Access(notify, "--transfer-notify-from").keys),
        (("notify",), "--notify", lambda: _keys(zone_places(text, "--notify")[1] for text in config.notify)),
        (("secondary",), "--secondary", lambda: _keys((fetched or {}).values())),
    )
    for path, option, named_keys in places:
        named, fault = _tried(named_keys)
        if named is not None and keys is not None:
            fault = _tried(partial(Keyring(keys, _no_time).need, named, option))[1]
        if fault:
            yield path, fault
    others: tuple[tuple[tuple[str, ...], Callable[[], Any]], ...] = (
        (("rrl", "exempt"), partial(exempt, config.rrl.exempt)),
        (("allow",), partial(allowed, config.allow)),
        (("root",), lambda: [root_address(text, config.port) for text in config.root]),
        (("server",), partial(server_names, config.server)),
        (("cookie_secret",), lambda: config.cookie_secret and read_secrets(Path(config.cookie_secret))),
    )
    for path, read in others:
        if fault := _tried(read)[1]:
            yield path, fault


def granted_elsewhere(config: Config) -> Iterator[tuple[str, str]]:
    """Grants for a zone that this server has not, with that zone: none of them is ever used here."""
    own = {name.lower() for name in (*zone_files(config), *secondary_zones(config))}
    for text in config.update:
        for zone in read_grants([text]).zones - own:
            yield text, to_text(zone)


def _no_time() -> float:
    return 0.0


def _keys(all_places: Iterable[Iterable[Place]]) -> set[bytes]:
    return {place.key for places in all_places for place in places if place.key is not None}


def _tried(read: Callable[[], T]) -> tuple[T | None, ConfigError | None]:
    try:
        return read(), None
    except ConfigError as error:
        return None, error
