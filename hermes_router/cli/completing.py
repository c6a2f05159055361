"""Completion: what may stand at the end of a command line, found without click and without any library.

Owns the walk along the line, over the table that is generated from the commands (`data/commands.tsv`), and the form in
which each shell wants to be told. Names that change are `names.py`'s. It must never start a daemon, raise, write to
standard error, or import more than it needs: a press of TAB has 100 ms.
"""

import os

Row = tuple[str, str]
"""A candidate, the whole word, and what it is."""

FILES = ":files"
"""What a shell is told where a file is wanted: it knows how to complete those itself."""

_TABLE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "commands.tsv")  # noqa: PTH100, PTH118, PTH120
_SAID = 72
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./@%+,")
# In bash these split words, unless its owner took them out of COMP_WORDBREAKS.
_BREAKS = "=:"


class Table:
    """The commands, their options and arguments, and the settings, as `data/commands.tsv` has them."""

    def __init__(self, text: str) -> None:
        self.commands: dict[str, str] = {}
        self.options: dict[str, list[tuple[str, str, str]]] = {}
        self.arguments: dict[str, list[str]] = {}
        self.settings: dict[str, tuple[str, str]] = {}
        self.endings: dict[str, tuple[str, str]] = {}
        for line in text.split("\n"):
            match line.split("\t"):
                case ["C", path, said]:
                    self.commands[path] = said
                case ["O", path, name, value, said]:
                    self.options.setdefault(path, []).append((name, value, said))
                case ["A", path, _, value]:
                    self.arguments.setdefault(path, []).append(value)
                case ["S", name, value, said]:
                    self.settings[name] = (value, said)
                case ["E", name, value, said]:
                    self.endings[name] = (value, said)
                case _:
                    pass

    def children(self, path: str) -> list[Row]:
        """The commands of a group; of none where it is no group."""
        head = f"{path} " if path else ""
        return [
            (name[len(head) :], said)
            for name, said in self.commands.items()
            if name.startswith(head) and " " not in name[len(head) :]
        ]

    def option(self, path: str, name: str) -> str | None:
        """What an option takes: `-` = nothing; None = there is none of this name."""
        if name in {"-h", "--help"}:
            return "-"
        return next((value for one, value, _ in self.options.get(path, ()) if one == name), None)


class Line:
    """A command line up to the word under the cursor: which command, what stands there already, what is wanted."""

    def __init__(self, table: Table, words: list[str]) -> None:
        self.table = table
        self.path = ""
        self.given: list[str] = []
        self.used: set[str] = set()
        self.pending: str | None = None
        self.rest = False
        self.plain = False
        self.lost = False
        for word in words:
            self._take(word)

    def _take(self, word: str) -> None:
        if self.rest or self.lost:
            return
        if self.pending is not None:
            self.pending = None
        elif word == "--" and not self.plain:
            self.plain = True
        elif word.startswith("-") and word != "-" and not self.plain:
            name, sign, _ = word.partition("=")
            value = self.table.option(self.path, name)
            self.used.add(name)
            self.rest = value == "rest"
            if value not in {None, "-"} and not sign:
                self.pending = value
        elif (deeper := f"{self.path} {word}".strip()) in self.table.commands:
            self.path = deeper
        elif self.table.children(self.path):
            self.lost = True
        else:
            self.given.append(word)

    def wanted(self, word: str) -> list[Row]:
        """What may stand at the cursor, where `word` does now."""
        if self.lost:
            return []
        if self.rest:
            return [(FILES, "")]
        if self.pending is not None:
            return self.values(self.pending, word)
        if word.startswith("-") and not self.plain:
            name, sign, begun = word.partition("=")
            if sign:
                value = self.table.option(self.path, name) or ""
                found = self.values(value, begun)
                return found if found == [(FILES, "")] else [(f"{name}={one}", said) for one, said in found]
            return self._options()
        found = [*self.table.children(self.path), *self._argument(word)]
        return found or ([] if word else self._options())

    def _options(self) -> list[Row]:
        rows = [
            (name, said)
            for name, value, said in self.table.options.get(self.path, ())
            if name not in self.used or value.endswith("*")
        ]
        return rows if not self.path else [*rows, ("--help", "Show this message and exit.")]

    def _argument(self, word: str) -> list[Row]:
        known = self.table.arguments.get(self.path, [])
        place = len(self.given)
        if place < len(known):
            return self.values(known[place], word)
        return self.values(known[-1], word) if known and known[-1].endswith("*") else []

    def values(self, value: str, word: str, provider: str = "") -> list[Row]:
        """What a value of this kind may be; `word` is its beginning, `provider` whose it is where the line says so."""
        kind = value.removesuffix("*")
        if kind.startswith("="):
            return [(one, "") for one in kind[1:].split("|")]
        if kind in {"files", "rest"}:
            return [(FILES, "")]
        if kind in {"", "-", "?"}:
            return []
        if kind == "setting":
            return self._settings(word)
        if kind == "assignment":
            return self._assignment(word)
        from hermes_router.cli.names import names  # noqa: PLC0415 - its socket takes 10 ms

        whose = provider or self._provider()
        if kind not in {"model", "providers"}:
            return names(kind, whose)
        before, sign, _ = word.rpartition(",")  # a list with commas, one after the other
        taken = {*before.split(","), *self.given[1:]}
        found = names("provider" if kind == "providers" else kind, whose)
        return [(f"{before}{sign}{name}", said) for name, said in found if name not in taken]

    def _provider(self) -> str:
        """The provider that the line names, empty where it names none."""
        for word, value in zip(self.given, self.table.arguments.get(self.path, []), strict=False):
            if value == "provider":
                return word.lower().replace("-", "_")
        return ""

    def _settings(self, word: str) -> list[Row]:
        """The names of settings; those of providers once a letter is there, since they are many. In the case typed."""
        rows = [(name, said) for name, (_, said) in self.table.settings.items()]
        if word:
            from hermes_router.cli.names import names  # noqa: PLC0415

            for provider, _ in names("provider", ""):
                rows += [(provider.upper() + end, said) for end, (_, said) in self.table.endings.items()]
        return [(name.lower(), said) for name, said in rows] if word[:1].islower() else rows

    def _assignment(self, word: str) -> list[Row]:
        """`NAME VALUE`, or `NAME=VALUE` several times."""
        name, sign, begun = word.partition("=")
        if sign:
            return [(f"{name}={one}", said) for one, said in self._setting_values(name, begun)]
        if self.given and "=" not in self.given[0]:
            return self._setting_values(self.given[0], word) if len(self.given) == 1 else []
        return self._settings(word)

    def _setting_values(self, name: str, begun: str) -> list[Row]:
        wanted = name.upper().replace("-", "_").replace(".", "_")
        if wanted in self.table.settings:
            return self.values(self.table.settings[wanted][0], begun)
        for end in sorted(self.table.endings, key=len, reverse=True):
            if wanted.endswith(end):
                return self.values(self.table.endings[end][0], begun, wanted.removesuffix(end).lower())
        return []


def candidates(table: Table, words: list[str]) -> list[Row]:
    """What the last of `words` may become; the program's own name is not among them."""
    *before, word = words or [""]
    found = Line(table, before).wanted(word)
    return [row for row in found if row[0] == FILES or row[0].lower().startswith(word.lower())]


def load() -> Table:
    """The table that travels with the package; empty where it is missing."""
    try:
        with open(_TABLE, encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes 5 ms
            return Table(file.read())
    except (OSError, ValueError):
        return Table("")


def split(line: str) -> list[str]:
    """A line as a shell splits it, without its program and what is set before that; an open quote ends with it."""
    words: list[str] = []
    word, quote, begun, escaped = "", "", False, False
    for sign in line:
        if escaped:
            word, escaped = word + sign, False
        elif sign == "\\" and quote != "'":
            escaped = begun = True
        elif quote:
            word, quote = (word, "") if sign == quote else (word + sign, quote)
        elif sign in "'\"":
            quote, begun = sign, True
        elif sign in " \t\n":
            if begun:
                words.append(word)
            word, begun = "", False
        else:
            word, begun = word + sign, True
    words.append(word)
    while len(words) > 1 and words[0].partition("=")[0].isidentifier() and "=" in words[0]:
        del words[0]
    return words[1:]


def _for_bash(rows: list[Row], word: str, breaks: str) -> list[str]:
    """Words to be put into the line as they are: escaped, and without what bash takes for an earlier word."""
    cut = max((word.rfind(sign) + 1 for sign in _BREAKS if sign in breaks), default=0)
    return [
        name if name == FILES else "".join(s if s in _PLAIN or s in _BREAKS else f"\\{s}" for s in name[cut:])
        for name, _ in rows
    ]


def _short(said: str) -> str:
    said = said.partition(". ")[0].removesuffix(".")
    return said if len(said) <= _SAID else said[: _SAID - 3].rpartition(" ")[0].rstrip(",;:") + " ..."


def _clean(text: str) -> str:
    return "".join(sign for sign in text if sign.isprintable())


def answer(environ: "os._Environ[str]") -> None:
    """Print what completes the line that the shell has put into the environment; nothing where anything goes wrong."""
    try:
        shell = environ["_HR_COMPLETE"]
        if shell == "bash":
            words = split(environ.get("_HR_LINE", ""))
        else:
            before = environ.get("_HR_WORDS", "")
            words = [*(before.split("\n") if before else []), environ.get("_HR_WORD", "")]
        rows = [(_clean(name), _clean(said)) for name, said in candidates(load(), words)]
        if shell == "bash":
            lines = _for_bash(rows, words[-1] if words else "", environ.get("_HR_BREAKS", _BREAKS))
        else:
            lines = [f"{name}\t{_short(said)}" if said else name for name, said in rows]
        os.write(1, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
    except (Exception, KeyboardInterrupt):  # noqa: BLE001, S110 - a shell in mid-line has no place for an error
        pass
