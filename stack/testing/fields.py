"""Header fields as tests read them: names in any case, a value for each, and every line where there are several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from stack.http.message import Field


class Fields(Mapping[str, str]):
    """`fields["cache-control"]` joins the lines of a name with commas (RFC 9110 §5.3); `all("set-cookie")` does not."""

    def __init__(self, fields: Iterable[Field]) -> None:
        self.raw: tuple[Field, ...] = tuple(fields)
        """Name in lower case and value, as received, in order."""

    def all(self, name: str) -> list[str]:
        """Every line of a name."""
        wanted = name.lower().encode("latin-1")
        return [value.decode("latin-1") for key, value in self.raw if key == wanted]

    def __getitem__(self, name: str) -> str:
        found = self.all(name)
        if not found:
            raise KeyError(name)
        return ", ".join(found)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.all(name))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key.decode("latin-1") for key, _ in self.raw))

    def __len__(self) -> int:
        return len({key for key, _ in self.raw})

    def __repr__(self) -> str:
        return "\n".join(f"{key.decode('latin-1')}: {value.decode('latin-1')}" for key, value in self.raw)
