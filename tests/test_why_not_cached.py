"""docs/why-not-cached.md has every word of the edge's cache, and its examples are what the edge says."""

from __future__ import annotations

import re

import pytest

from stack import cache_words
from stack.cli import pages
from stack.path import STEPS
from stack.plan.why_page import with_words

PAGE = pages.WHY.read_text("utf-8")
WORDS = {"disk": cache_words.DISK, "lookup": cache_words.LOOKUP, "fetch": cache_words.FETCH, "store": cache_words.STORE}
EVERY = [(step, word) for step, words in WORDS.items() for word in words]
EXAMPLES = re.findall(r"^cache-status: (.+)$", PAGE, re.MULTILINE)


def test_the_sections_of_words_are_as_they_would_be_made() -> None:
    assert with_words(PAGE) == PAGE, "docs/why-not-cached.md: `make docs`"


@pytest.mark.parametrize(("step", "word"), EVERY)
def test_every_word_has_a_section(step: str, word: str) -> None:
    assert word in STEPS["cdn_edge"][step]
    assert f"\n### {step}: {word}\n" in PAGE


@pytest.mark.parametrize(("step", "word"), EVERY)
def test_what_is_said_of_a_word(step: str, word: str) -> None:
    told = WORDS[step][word]
    assert told.means[0].islower() or told.means.startswith(("RFC", "TLS")), "half a sentence"
    assert not told.means.endswith(".")
    assert not told.remedy or told.remedy.endswith("."), "whole sentences"
    for line in told.write:
        assert re.fullmatch(r"[A-Z][A-Za-z-]*: \S.*", line), line


def test_what_is_not_stored_has_a_remedy() -> None:
    """But for what is no response at all."""
    assert {word for word, told in cache_words.STORE.items() if not told.remedy} == {"stored", "tunnel"}


def test_the_examples_use_the_words() -> None:
    assert len(EXAMPLES) >= 7
    for example in EXAMPLES:
        detail = re.search(r"detail=([\w-]+)", example)
        why = re.search(r"fwd=([\w-]+)", example)
        assert why is None or why[1] in cache_words.LOOKUP
        assert detail is None or detail[1] in cache_words.STORE


def test_a_page_without_the_mark_is_not_overwritten() -> None:
    with pytest.raises(ValueError, match="no line"):
        with_words("# A page\n")
