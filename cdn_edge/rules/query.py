"""What of a query belongs into the key: all of it as it came, unless the operator says otherwise.

The origin always sees the query as it came. So two URLs may share a key only where the origin answers both alike, and
for that the operator vouches, by name. What may be read otherwise than its names say is left as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

TRACKING: Final = (
    *("utm_*", "mtm_*", "pk_*", "piwik_*", "matomo_*", "hsa_*", "_hs*", "__hs*", "hsCtaTracking", "vero_id"),
    *("fbclid", "fb_action_ids", "fb_action_types", "fb_source", "gclid", "gclsrc", "gbraid", "wbraid", "gad_source"),
    *("gad_campaignid", "dclid", "srsltid", "_ga", "_gl", "msclkid", "ttclid", "twclid", "li_fat_id", "igshid", "igsh"),
    *("mc_cid", "mc_eid", "yclid", "ysclid", "_openstat", "epik", "rdt_cid", "ScCid", "mkt_tok", "oly_anon_id"),
    *("oly_enc_id", "wickedid", "s_kwcid", "irclickid", "irgwc", "zanpid", "vero_conv"),
)
"""What advertising and newsletters append for scripts in the page to read."""
LISTS: Final = {"@tracking": TRACKING}
"""Ready lists of names, by the name that stands for them. A `@` is nothing that a browser leaves in a name."""

_ROOT_ENDS: Final = re.compile(rb"[\[.\0]")


def patterns(names: Iterable[str]) -> re.Pattern[bytes] | None:
    """Matches a parameter that one of `names` means, `*` standing for any characters. None for no names.

    ValueError for a list that is not known, and for what no parameter's name holds.
    """
    found: list[str] = []
    for name in names:
        if name.startswith("@"):
            if name not in LISTS:
                raise ValueError(f"{name} is no list of parameters; there is {', '.join(LISTS)}")
            found += LISTS[name]
        elif not name or not name.isascii() or not name.isprintable() or any(char in "&;=#? " for char in name):
            raise ValueError(f"{name!r} is no name of a query parameter; write it as in the URL, such as utm_*")
        else:
            found.append(name)
    if not found:
        return None
    alternatives = "|".join(re.escape(name).replace(r"\*", "[^=]*") for name in dict.fromkeys(found))
    return re.compile(f"(?:{alternatives})(?:=|\\Z)".encode("ascii"))


def reduced(
    query: bytes, *, ignore: re.Pattern[bytes] | None, only: re.Pattern[bytes] | None, sort: bool
) -> bytes | None:
    """The query for the key. None when nothing is left of it, so that `/a?utm_source=x` meets `/a`.

    A query with `;` stays as it came: some origins take it for `&` (CVE-2021-23336), and what they would find behind it
    would hide in a parameter that is ignored.
    """
    if b";" in query:
        return query
    parameters = query.split(b"&")
    count = len(parameters)
    if only is not None:
        parameters = [one for one in parameters if only.match(one)]
    if ignore is not None:
        parameters = [one for one in parameters if not ignore.match(one)]
    if sort and len(parameters) > 1:
        parameters.sort(key=_root)
    elif len(parameters) == count:
        return query
    return b"&".join(parameters) if parameters else None


def _root(parameter: bytes) -> bytes:
    """What parameters have in common that an origin may take for one: `a`, `A`, `%61`, `a[]` and `a.b`.

    These keep their order, for which of them counts may depend on it.
    """
    name = parameter.partition(b"=")[0].replace(b"+", b" ")
    return _ROOT_ENDS.split(unquote_to_bytes(name).lower().strip(), maxsplit=1)[0]
