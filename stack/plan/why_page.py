"""The part of docs/why-not-cached.md that is made: a section for each word of `stack.cache_words`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from stack import cache_words
from stack.cache_words import Word

MARK: Final = "<!-- from here on made by `make docs` from stack/cache_words.py; edits below are lost -->"
_STEPS: Final[Mapping[str, tuple[Mapping[str, Word], str]]] = {
    "lookup": (
        cache_words.LOOKUP,
        "What looking into the store came to. In Cache-Status it is `hit`, or stands behind `fwd=`.",
    ),
    "disk": (
        cache_words.DISK,
        "What looking on the disk came to: with `--cache-disk`, where it was not in memory and might be there.",
    ),
    "fetch": (cache_words.FETCH, "What asking the origin came to, where it was asked."),
    "store": (cache_words.STORE, "What became of the origin's answer. In Cache-Status it is `stored`, or `detail=`."),
}


def with_words(text: str) -> str:
    """The page `text` with its sections of words as they would be made now. ValueError where it has no `MARK`."""
    written, mark, _ = text.partition(MARK)
    if not mark:
        raise ValueError(f"there is no line {MARK}")
    parts = [_step(step, words, said) for step, (words, said) in _STEPS.items()]
    return written + MARK + "\n\n" + "\n\n".join(parts) + "\n"


def anchor(step: str, word: str) -> str:
    """Where a word stands in the page. `method` and `stale` are words of two steps, so the step is part of it."""
    return f"{step}-{word}"


def _step(step: str, words: Mapping[str, Word], said: str) -> str:
    return "\n\n".join([f"## The step `{step}`", said, *(_word(step, word, told) for word, told in words.items())])


def _word(step: str, word: str, told: Word) -> str:
    clause = f" ({told.clause})" if told.clause else ""
    parts = [f"### {step}: {word}", f"{told.means[0].upper()}{told.means[1:]}{clause}."]
    if told.remedy:
        parts.append(told.remedy)
    if told.write:
        parts.append("```http\n" + "\n".join(told.write) + "\n```")
    return "\n\n".join(parts)
