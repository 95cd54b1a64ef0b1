"""The palette holds WCAG 2.2 AA, by day and by night."""

from __future__ import annotations

import re

import pytest

from appserver.shop.assets import STATIC

[STYLE] = [path.read_text() for path in STATIC.glob("shop.*.css")]
BLOCKS = [
    dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
]

TEXT = 4.5
"""WCAG 1.4.3: body text against its ground."""
SHAPE = 3.0
"""WCAG 1.4.11: edges of fields and the focus ring."""

PAIRS = [
    *(
        (ink, ground, TEXT)
        for ink in ("ink", "soft", "accent", "accent-hover", "few", "gone")
        for ground in ("ground", "raised")
    ),
    ("ink", "notice", TEXT),
    ("on-accent", "accent", TEXT),
    ("on-accent", "accent-hover", TEXT),
    *((shape, ground, SHAPE) for shape in ("field", "focus", "accent") for ground in ("ground", "raised")),
]


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["day", "night"])
@pytest.mark.parametrize(("front", "back", "least"), PAIRS)
def test_contrast(theme: str, front: str, back: str, least: float) -> None:
    day, night = BLOCKS
    assert day.keys() == night.keys()
    palette = day if theme == "day" else night
    assert contrast(palette[front], palette[back]) >= least


def test_the_measure_itself() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=0.001)


def test_colours_are_named_once_and_used_by_name() -> None:
    rest = re.sub(r":root \{.*?\}", "", STYLE, flags=re.DOTALL)
    assert not re.findall(r"#[0-9a-f]{3,8}\b", rest)
    used = set(re.findall(r"var\(--([a-z-]+)\)", rest))
    assert used == BLOCKS[0].keys()
    assert ":focus-visible" in rest
    assert "prefers-reduced-motion" in rest
    assert "url(" not in rest
