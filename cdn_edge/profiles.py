"""Profiles: named sets of defaults for what RFC 9111 leaves to the cache, or allows and we are more careful with.

An option that a profile speaks of is None in `config.Cache` where nobody gave it; what was given wins over any profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from cdn_edge.config import Config, Profile

PROFILES: Final[Mapping[Profile, Mapping[str, Any]]] = {
    "careful": {
        "set_cookie": "explicit",
        "guess_for_cookies": False,
        "request_errors": "never",
        "vary_languages": "ordered",
    },
    "rfc9111": {
        "set_cookie": "store",  # §7.3: Set-Cookie does not inhibit caching
        "guess_for_cookies": True,  # §4.2.2 knows no exception for requests with Cookie
        "request_errors": "explicit",  # §3: a final status code that the cache understands
        "vary_languages": "unordered",  # §4.1; RFC 9110 §12.5.4: their order cannot be relied upon
    },
}
"""By option of `config.Cache`. Every profile speaks of the same options."""


def profiled(config: Config) -> Config:
    """The same options with no None left among those that a profile speaks of."""
    cache = config.cache
    name: Profile = cache.profile or config.profile or "careful"
    left: dict[str, Any] = {option: value for option, value in PROFILES[name].items() if getattr(cache, option) is None}
    return msgspec.structs.replace(config, cache=msgspec.structs.replace(cache, profile=name, **left))
