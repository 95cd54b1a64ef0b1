"""Help reads well at 80 columns: nothing is cut, every command says what its exit statuses mean."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from stack.cli.main import COMMANDS, cli, main

WIDTH = 80


def commands() -> Iterator[tuple[str, ...]]:
    """Every command and subcommand by its words."""
    yield ()
    context = click.Context(cli)
    for name in cli.list_commands(context):
        yield (name,)
        try:
            command = cli.get_command(context, name)
        except ImportError:
            continue
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                yield (name, inner)


ALL = [pytest.param(words, id=" ".join(words) or "hopstack") for words in commands()]


def helped(words: tuple[str, ...]) -> str:
    """As `hopstack WORDS --help` prints it on a terminal of 80 columns."""
    context = click.Context(cli, info_name="hopstack", **cli.context_settings)
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(context, word)
        assert found is not None
        command = found
        context = click.Context(command, info_name=word, parent=context)
    return command.get_help(context)


@pytest.mark.parametrize("words", ALL)
def test_it_fits_80_columns_and_nothing_is_cut(words: tuple[str, ...]) -> None:
    text = helped(words)
    assert [line for line in text.splitlines() if len(line) > WIDTH] == []
    listed = text.partition("Commands:")[2]
    assert [line for line in listed.splitlines() if line.endswith("...")] == []
    assert "(Deprecated)" not in text


def is_group(words: tuple[str, ...]) -> bool:
    return words == () or any(item.values[0][:-1] == words for item in ALL if item.values[0])


@pytest.mark.parametrize("words", [item for item in ALL if not is_group(item.values[0])])
def test_it_says_what_the_exit_statuses_mean(words: tuple[str, ...]) -> None:
    text = " ".join(helped(words).split())
    found = re.search(r"Exit status: (\S+ \S+)", text)
    assert found is not None, "hopstack " + " ".join(words)
    assert found[1].startswith("0 ") or words == ("exec",)


@pytest.mark.parametrize("words", ALL)
def test_every_option_has_a_text(words: tuple[str, ...]) -> None:
    context = click.Context(cli)
    command: click.Command | None = cli
    for word in words:
        assert isinstance(command, click.Group)
        command = command.get_command(context, word)
    assert command is not None
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert option.help.endswith("."), option.help


def test_every_command_of_the_table_is_there() -> None:
    context = click.Context(cli)
    for section in COMMANDS.values():
        for name, entry in section.items():
            assert cli.get_command(context, name) is not None
            assert entry.help.endswith(".")
            assert len(entry.help) <= 62


def test_the_first_help_imports_no_command() -> None:
    code = (
        "import sys; from stack.cli import main; status = main(['--help'])\n"
        "heavy = {'asyncio', 'stack.supervisor', 'stack.hop', 'aiohttp', 'msgspec'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert status == 0"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Set up" in done.stdout


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["statu"], "hopstack: No such command 'statu'. Did you mean 'status'? See `hopstack --help`."),
        (["xyzzy"], "hopstack: No such command 'xyzzy'. See `hopstack --help`."),
        (["up", "--app"], "hopstack up: Option '--app' requires an argument. See `hopstack up --help`."),
        (["fault", "xyzzy"], "hopstack fault: No such command 'xyzzy'. See `hopstack fault --help`."),
    ],
    ids=" ".join,
)
def test_who_mistypes_is_shown_where_to_look(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert capsys.readouterr() == ("", f"{said}\n")
