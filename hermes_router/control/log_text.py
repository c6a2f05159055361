"""An event of the log as a person reads it: a sentence first, then what the sentence does not hold.

Owns the sentence of every event and the line around it, alike on the daemon's terminal, in the journal and in `hr
logs`. An event without a sentence here is shown by its name. It must never write, nor take secrets out: what comes in
holds none any more.
"""

import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from hermes_router.core.spans import lapse, span

__all__ = ["SENTENCES", "Told", "body", "escaped", "line", "printable", "told"]

_ENDS: Final = {
    "limited": "limited",
    "limited_day": "day quota used up",
    "no_credit": "no credit",
    "rejected_key": "key rejected",
    "overloaded": "overloaded",
    "broken": "failing",
    "unreachable": "not reached",
    "slow": "too slow",
    "cut": "cut short",
    "empty": "empty answer",
    "too_small": "too small",
    "gone": "model gone",
    "refused": "refused it",
    "abandoned": "left alone",
}
_FAILED: Final = {
    "limited": "is limited",
    "limited_day": "has used up its quota of the day",
    "no_credit": "has no credit",
    "rejected_key": "rejects the key",
    "overloaded": "is overloaded",
    "broken": "failed",
    "unreachable": "cannot be reached",
    "slow": "was too slow",
    "cut": "broke off in the middle",
    "empty": "gave an empty answer",
    "too_small": "is too small for the request",
    "gone": "does not have the model any more",
    "refused": "refused the request",
}
_OUTCOMES: Final = {
    "NoTarget": "nobody could answer",
    "Unfetched": "an image could not be fetched",
    "DeadlinePassed": "no answer in time",
    "CallerLimited": "refused by the router key's own limit",
    "HermesError": "failed by a fault of ours",
}
_STANDS: Final = {"cooling": "rests for", "open": "rests for", "paused": "next try in", "revoked": "next try in"}

SENTENCES: Final = {
    "account.removed": "account {account} of {provider} was removed",
    "account.taken_in": "account {account} of {provider} is in use[ ({how})]",
    "attempt.failed": "",
    "caller.refused": "a caller was refused: {status} ({error}) for {method} {path}[, {times} times in {within_s}]",
    "caller.runaway": "a caller goes in circles: router key {router_key} sent one request {times} times in {window_s}",
    "codex.adopted": "account {account}: took over the token that the official CLI renewed",
    "codex.file": "accounts: {said}",
    "codex.login_ended": "account {account}: its login has ended, it serves for {serves_for_s} more; {next}",
    "codex.not_refreshed": "account {account}: its token could not be renewed ({reason})",
    "codex.not_written": "account {account}: its new token could not be written: {problem}",
    "codex.refreshed": "account {account}: token renewed, good for {expires_in_s}",
    "codex.restored": "the file of accounts was gone, and is written anew ({accounts} accounts)",
    "codex.revoked": "account {account} is revoked; {next}",
    "codex.unreadable": "the accounts cannot be read: {problem}[; {next}]",
    "codex.written_back": "account {account}: its new token went to the official CLI, too",
    "command.failed": "{provider}: the command for its key failed: {reason}",
    "config.changed": "the configuration changed: {changed}",
    "config.not_reloaded": "the files are not read again[; {next}]",
    "config.refused": "the configuration in force stays: {problem}[; {next}]",
    "config.skipped": "a setting is left out: {problem}[ ({where})]",
    "control.absent": "no control socket: {problem}; `hr` cannot reach this daemon",
    "control.fault": "a fault of ours at the control socket: {error} in {method} {path}, at {where}",
    "control.lost": "the control socket was removed and cannot be made again: {problem}[; {next}]",
    "control.made_again": "the control socket had been removed, and was made again: {path}",
    "daemon.control_only": "here for one command, without a public port",
    "daemon.crashed": "the daemon crashed",
    "daemon.handed_over": "pid {pid}, version {version}, took over in {took_s}; what has begun here runs to its end",
    "daemon.handing_over": "a restart was asked for: a successor is started",
    "daemon.not_handed_over": "no restart, this daemon serves on: {problem}",
    "daemon.not_restarted": "no restart: {problem}[; {next}]",
    "daemon.ready": "ready on port {port}: {targets} targets of {providers}",
    "daemon.refused": "the daemon does not start: {problem}",
    "daemon.retired": "the last request of this daemon has ended; its successor serves",
    "daemon.stopped": "stopped",
    "daemon.stopping": "stopping: what is under way has {drain_s}",
    "embed.bound": "router key {router_key}: embeddings ({profile}) are bound to {target}",
    "embed.bound_in_memory": "router key {router_key}: embeddings ({profile}) are bound to {target}, in memory alone",
    "embed.unbound": "router key {router_key}: embeddings are bound no longer ({profiles})",
    "events.lost": "{lost} lines are missing here: they came faster than they were read",
    "exchange.done": "",
    "exchange.waiting": "waits {wait_s} ({why})[, {ahead} ahead of it]",
    "image.unfetched": "{path}: the image was not fetched, {fault}[ ({said})]",
    "keyring.back": "the keyring answers again",
    "keyring.hung": "the keyring does not answer within {limit_s}; keys in memory serve on",
    "keyring.unread": "{keys} keys cannot be read: {reason}[; {next}]",
    "keyring.unswept": "{keys} keys that were removed still rest in the keyring: {reason}",
    "keyring.waiting": "waiting {limit_s} for the keyring: {next}",
    "ledger.skipped": "{rows} rows of the ledger were {reason}, and are left out[ ({file})]",
    "library.message": "{message}",
    "local.absent": "{provider} does not answer at {url}[: {said}]",
    "local.back": "{provider} answers again at {url}",
    "local.found": "{provider} holds {models}",
    "log.lost": "{lines} lines were lost: whoever takes the log was too slow",
    "model.replaced": "{provider} lists {gone} no longer; {by} takes its place",
    "model.returned": "{provider} lists {model} again",
    "model.unlisted": "{provider} does not list {model}; {next}",
    "model.vanished": "{provider} lists {model} no longer[; instead {instead}]",
    "models.not_kept": "the lists of models cannot be kept: {said}[ ({path})]",
    "models.not_read": "the kept lists of models cannot be read: {said}; {next}",
    "models.odd": "{provider} lists {models} models: {said}",
    "models.read_again": "{provider}: its list of models can be read again",
    "models.unread": "{provider}: its list of models cannot be read: {said}",
    "notify.failed": "whoever is to be told by {way} cannot be told: {reason}[; {next}]",
    "notify.lost": "a message was not delivered by {way}: {kind} {state}",
    "notify.recovered": "messages by {way} are delivered again",
    "notify.sent": "told by {way}: {kind} {state}",
    "pool.empty": "no provider has a key; {next}",
    "probe.done": "{target} was tried for {capability}: {found}[ ({said})]",
    "provider.disabled": "{provider} takes no part: {reason}",
    "quota.again": "{provider} has quota again",
    "quota.odd": "{target} told a limit that is not believed: {said}",
    "responses.lost": "remembered answers could not be written; {next}",
    "server.fault": "a fault of ours[ in {path}]",
    "sockets.unused": "{problem}",
    "store.decided": "new keys rest in the {store}: {reason}",
    "store.ended": "the state file is not written any more: {error}[ ({file})]",
    "store.failing": "the state file cannot be written: {reason}; {waiting} records wait[ ({file})]",
    "store.recovered": "the state file is written again[ ({file})]",
    "store.set_aside": "the state file was unusable ({reason}) and lies at {aside} now; a fresh one is in use",
    "store.unwritable": "the state file cannot be written ({error}): {file}",
    "store.unwritten": "what was changed of the keys could not be written: {reason}",
    "target.back": "{target} serves again, {after_s} after its first failure (failed attempts: {failures})",
    "task.failed": "the task {task} failed: {error}[; again in {again_in_s}]",
    "usage.lost": "{records} records of usage could not be written; {next}",
}
"""What is said of each event; fields in braces, and in brackets what is left out where a field of it is missing."""

_BOUND: Final = frozenset({"event", "level", "timestamp"})
_PIECE: Final = re.compile(r"\{(\w+)\}")
_OPTION: Final = re.compile(r"\[([^\]]*)\]")
_PLAIN: Final = re.compile(r"[\w./:#@+,*~%()-]+", re.ASCII).fullmatch
_MOMENT: Final = (1e9, 1e11)  # numbers between are moments, in epoch seconds
_LONGEST_S: Final = 1e10
_REFUSAL: Final = 400  # an HTTP status below says nothing of a failure
_LETTERS: Final = {"debug": "debug", "info": "", "warning": "warn", "error": "error", "critical": "fatal"}
_DIM: Final = "\x1b[2m"
_END: Final = "\x1b[0m"
_SHADES: Final = {"debug": "2", "warning": "33", "error": "31", "critical": "1;31"}  # ANSI, by level


class Told(NamedTuple):
    """A sentence, and the fields that it does not hold."""

    said: str
    rest: Mapping[str, Any]


def told(event: str, fields: Mapping[str, Any]) -> Told:
    """The sentence of an event."""
    special = _SPECIAL.get(event)
    if special is not None:
        return special(fields)
    found = _filled(SENTENCES.get(event, ""), fields)
    if found is None:
        return Told(event, _without(fields, ()))
    said, used = found
    return Told(said, _without(fields, used))


def body(event: str, fields: Mapping[str, Any]) -> str:
    """The sentence and the other fields; a traceback follows in lines of its own."""
    said, rest = told(event, fields)
    return _joined(said, rest)


def line(event: str, level: str, fields: Mapping[str, Any], *, at: str, coloured: bool = False) -> str:
    """The whole line: when, how bad, the sentence, the rest; `coloured` for a terminal that wants it."""
    said, rest = told(event, fields)
    word = _LETTERS.get(level, level).ljust(5)
    if not coloured:
        return f"{at} {word} {_joined(said, rest)}"
    shade = _SHADES.get(level)
    if shade is not None:
        word = f"\x1b[{shade}m{word}\x1b[0m"
    return f"\x1b[2m{at}\x1b[0m {word} {_joined(said, rest, _DIM, _END)}"


def printable(text: str, *, lines: bool = False) -> str:
    """The text without what could steer a terminal or forge a line; `lines` lets line ends stand."""
    if text.isprintable():
        return text
    kept = "\n" if lines else ""
    return "".join(c if c.isprintable() or c in kept else escaped(c) for c in text)


def escaped(character: str) -> str:
    """A character as Python would write it, in two, four or eight digits: it can be read back."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _joined(said: str, rest: Mapping[str, Any], before: str = "", after: str = "") -> str:
    parts = [f"{printable(str(name))}={_value(name, value)}" for name, value in rest.items() if name != "exception"]
    text = printable(said)
    if parts:
        text += f"  {before}{' '.join(parts)}{after}"
    trace = rest.get("exception")
    return f"{text}\n{printable(str(trace), lines=True).rstrip()}" if trace else text


def _value(name: str, value: object) -> str:
    if isinstance(value, str):
        return value if _PLAIN(value) else '"' + printable(value.replace('"', "'")) + '"'
    return _word(name, value).replace(" ", "")


def _word(name: str, value: object) -> str:
    """A field inside a sentence."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int() | float() if name.endswith("_s"):
            return _seconds(value) or str(value)
        case float() if _MOMENT[0] < value < _MOMENT[1]:
            return time.strftime("%H:%M:%S", time.localtime(value))
        case None:
            return ""
        case _:
            return str(value)


def _without(fields: Mapping[str, Any], used: "tuple[str, ...] | frozenset[str]") -> dict[str, Any]:
    return {
        name: value
        for name, value in fields.items()
        if name not in used and name not in _BOUND and value is not None and value != ""
    }


def _filled(sentence: str, fields: Mapping[str, Any]) -> tuple[str, frozenset[str]] | None:
    """The sentence with its fields in it, and which those are; None where one that it needs is missing."""
    if not sentence:
        return None
    used: set[str] = set()

    def value(match: re.Match[str]) -> str:
        name = match[1]
        used.add(name)
        return _word(name, fields[name])

    def option(match: re.Match[str]) -> str:
        names = _PIECE.findall(match[1])
        return _PIECE.sub(value, match[1]) if all(fields.get(name) not in {None, "", 0} for name in names) else ""

    needed = _PIECE.findall(_OPTION.sub("", sentence))
    if any(name not in fields for name in needed):
        return None
    # The parts around the options are filled one by one: a value may itself hold brackets.
    parts, at = [], 0
    for found in _OPTION.finditer(sentence):
        parts += [_PIECE.sub(value, sentence[at : found.start()]), option(found)]
        at = found.end()
    parts.append(_PIECE.sub(value, sentence[at:]))
    return "".join(parts), frozenset(used)


# --- what has more to say than its fields ---------------------------------------------------------------

_OF_EXCHANGE: Final = frozenset({
    "outcome", "stream", "attempts", "input_tokens", "output_tokens", "estimated", "duration_s", "waited_s",
    "again_in_s",
})  # fmt: skip
_OF_ATTEMPT: Final = frozenset({"target", "error", "class", "status", "said", "state", "rests_s", "shown_chars"})


@lru_cache(maxsize=512)
def _tried(attempts: str, *, answered: bool) -> tuple[str, str]:
    """Who answered, and whom else was asked: the same words come again and again."""
    tried = [one.rpartition(":")[::2] for one in attempts.split()]
    target = tried.pop()[0] if answered and tried else "?"
    others = ", ".join(f"{one} ({_ENDS.get(end, end)})" for one, end in tried)
    return target, others and f"; {'after' if answered else 'tried'} {others}"


def _exchange(fields: Mapping[str, Any]) -> Told:
    get = fields.get
    outcome, took = str(get("outcome", "")), _seconds(get("duration_s"))
    answered = outcome == "answered"
    target, others = _tried(str(get("attempts", "")), answered=answered)
    if answered:
        about = "~" if get("estimated") is True else ""
        tokens = f"{about}{get('input_tokens', 0)}+{about}{get('output_tokens', 0)} tokens"
        said = f"answered by {target} in {took}, {tokens}"
    elif outcome == "caller_left":
        said = f"the caller left after {took}"
    else:
        said = f"{_OUTCOMES.get(outcome) or f'failed with {outcome}'}, after {took}"
    if waited := _seconds(get("waited_s")):
        said += f", {waited} of it waiting"
    if again := _seconds(get("again_in_s")):
        said += f", next chance in {again}"
    return Told(said + others, _without(fields, _OF_EXCHANGE))


def _attempt(fields: Mapping[str, Any]) -> Told:
    kind, status = str(fields.get("class", "")), fields.get("status")
    how = _FAILED.get(kind) or f"failed ({fields.get('error', kind)})"
    said = f"{fields.get('target', '?')} {how}"
    if isinstance(status, int) and status >= _REFUSAL:
        said += f" ({status})"
    shown = fields.get("shown_chars")
    if shown:
        said += f" after {shown} characters"
    rests, stands = _seconds(fields.get("rests_s")), _STANDS.get(str(fields.get("state", "")))
    if rests and stands:
        said += f", {stands} {rests}"
    words = fields.get("said")
    return Told(f"{said}: {words}" if words else said, _without(fields, _OF_ATTEMPT))


def _seconds(value: object) -> str:
    """A length of time; empty for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < _LONGEST_S:
        return ""
    return span(value) if value >= 1 and float(value).is_integer() else lapse(value)


_SPECIAL: Final[Mapping[str, Callable[[Mapping[str, Any]], Told]]] = {
    "exchange.done": _exchange,
    "attempt.failed": _attempt,
}
