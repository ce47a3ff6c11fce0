"""Writes the completions of bash and zsh beside this file, from the parser of the command line.

To be run after a change of the options: ``python contrib/completion/generate.py``. A test compares.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from shlex import quote

from storescp.program.command_line import make_parser

HERE = Path(__file__).parent

_BASH = """\
# Completion of storescp for bash 4.4 and newer. Made by generate.py: change that.

_storescp() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} option=${{COMP_WORDS[COMP_CWORD - 1]}}
    local value=$word
    if [[ $word == = ]]; then # --durability=full is three words to bash
        value=
    elif [[ -n $word && $option == = ]]; then
        option=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    COMPREPLY=()
    case $option in
{values}
        *) [[ -n $word && $word != -* ]] || mapfile -t COMPREPLY < <(compgen -W '
{options}
        ' -- "$word") ;;
    esac
}}

complete -F _storescp storescp
"""

_ZSH = """\
#compdef storescp
# Completion of storescp for zsh. Made by generate.py: change that.

_arguments \\
{arguments}
"""


def bash(actions: list[argparse.Action]) -> str:
    """The completion of bash."""
    options = [action for action in actions if action.option_strings]
    values = [f"        {' | '.join(each.option_strings)}) {_of_bash(each)}" for each in options if each.nargs != 0]
    spellings = [f"            {' '.join(each.option_strings)}" for each in options]
    return _BASH.format(values="\n".join(values), options="\n".join(spellings))


def _of_bash(action: argparse.Action) -> str:
    if _is_file(action):
        return "compopt -o default ;;"
    if _is_directory(action):
        return "compopt -o dirnames ;;"
    if _choices(action):
        return f"mapfile -t COMPREPLY < <(compgen -W '{' '.join(_choices(action))}' -- \"$value\") ;;"
    return f";; # {_name(action)}"


def zsh(actions: list[argparse.Action]) -> str:
    """The completion of zsh."""
    return _ZSH.format(arguments=" \\\n".join(f"    {_of_zsh(action)}" for action in actions))


def _of_zsh(action: argparse.Action) -> str:
    """What _arguments, of zshcompsys(1), calls a spec; braces make one for each spelling."""
    takes = "" if action.nargs == 0 else f":{_escaped(_name(action), ':')}:{_values_of_zsh(action)}"
    if not action.option_strings:
        # Without the guard, an option that is begun in its place would not be completed.
        guarded = f"_guard {quote('[0-9]#')} {quote(_escaped(_help(action), ':'))}"
        return quote(f":{_name(action)}:{guarded}")
    # An = that belongs to the name is escaped; one after it says that a value may follow so.
    spellings = [
        each.replace("=", "\\=") + ("=" if takes and each.startswith("--") else "") for each in action.option_strings
    ]
    others = "*" if isinstance(action, argparse._AppendAction) else f"({' '.join(action.option_strings)})"
    explained = f"[{_escaped(_help(action), '[]:')}]{takes}"
    if len(spellings) == 1:
        return quote(others + spellings[0] + explained)
    return f"{quote(others)}{{{','.join(map(quote, spellings))}}}{quote(explained)}"


def _values_of_zsh(action: argparse.Action) -> str:
    if _is_file(action):
        return "_files"
    if _is_directory(action):
        return "_directories"
    return f"({' '.join(_choices(action))})" if _choices(action) else ""


def _escaped(text: str, special: str) -> str:
    return "".join(f"\\{each}" if each in special or each == "\\" else each for each in text)


def _help(action: argparse.Action) -> str:
    return str(action.help).replace("%%", "%")


def _name(action: argparse.Action) -> str:
    """What a value is called: [s]econds are seconds, TYPE[:ARGUMENTS] stays."""
    name = str(action.metavar)
    return name[1] + name[3:] if name[:1] == "[" and name[2:3] == "]" else name


def _is_file(action: argparse.Action) -> bool:
    return action.metavar == "FILE"


def _is_directory(action: argparse.Action) -> bool:
    return _name(action) == "directory"


def _choices(action: argparse.Action) -> list[str]:
    name = _name(action)
    return name.split("|") if "|" in name else []


FILES: dict[str, Callable[[list[argparse.Action]], str]] = {"storescp.bash": bash, "_storescp": zsh}


def generate() -> dict[str, str]:
    """The content of each file, by its name."""
    # What argparse has no public name for: the only place that knows the general options too.
    actions = make_parser("storescp")._actions
    return {name: content(actions) for name, content in FILES.items()}


if __name__ == "__main__":
    for name, content in generate().items():
        (HERE / name).write_text(content, encoding="utf-8")
