"""`hopstack completion`."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes hopstack's commands and options in SHELL.

    Once for a shell; it takes effect in the next one that is started:

    \b
      bash  echo 'eval "$(hopstack completion bash)"' >> ~/.bashrc
      zsh   echo 'eval "$(hopstack completion zsh)"' >> ~/.zshrc
      fish  hopstack completion fish \\
              > ~/.config/fish/completions/hopstack.fish

    zsh needs `autoload -Uz compinit && compinit` before that line.

    Exit status: 0 printed, 2 no such shell.
    """
    from click.shell_completion import get_completion_class

    from stack.cli.main import cli

    found = get_completion_class(shell)
    assert found is not None
    # without the class's own source(): for bash it starts a bash to look at its version, and warns
    script = found(cli, {}, "hopstack", "_HOPSTACK_COMPLETE")
    text = script.source_template % script.source_vars()
    # click's own would end every description at its first comma in fish
    click.echo(text.replace('string split ","', 'string split --max 1 ","').strip())
