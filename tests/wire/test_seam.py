"""Where a continuation joins what was shown: proved by prefill or anchor, or not at all."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.errors import Unjoined
from hermes_router.wire.seam import ANCHOR_CHARS, WITHIN_CHARS, Anchor, Seam, anchor_of

FIRST = "Paris is the capital of France, and has been so for many centuries, with interruptions."
SECOND = "It lies on the Seine, whose islands were settled long before the Romans came to build a town"
SHOWN = f"{FIRST}\n\n{SECOND}"
REST = " there.\n\nThe end."
ROW = "| the same row | in every line | of the table |"


def said(seam, *pieces):
    """What is new of a reply that comes in these pieces and ends well."""
    return "".join([*map(seam.feed, pieces), seam.finish()])


def by_anchor(shown, reply, **more):
    return said(Seam(shown, anchor=anchor_of(shown), **more), *reply)


def by_prefill(shown, reply, **more):
    return said(Seam(shown, anchor=None, **more), *reply)


# --- the anchor --------------------------------------------------------------------------------------


def test_the_anchor_is_the_end_of_what_was_shown_from_a_whole_word_on():
    """Some 48 characters: white space at the end is no part of it, and it begins with a word."""
    text, unique = anchor_of(SHOWN + " \n")
    assert unique
    assert SHOWN.endswith(" " + text)
    assert ANCHOR_CHARS <= len(text) <= ANCHOR_CHARS + 24


@pytest.mark.parametrize(
    ("shown", "anchor"),
    [
        ("Hi", Anchor("Hi", unique=False)),  # too short to be looked for
        ("\n Hello th", Anchor("Hello th", unique=False)),
        ("\nHello there, world ", Anchor("Hello there, world", unique=True)),
        (f"{FIRST}\n{ROW}\nother\n{ROW}", Anchor(f"other\n{ROW}", unique=True)),
        (f"{FIRST}\n    a = b(c)  # {ROW}\n\n    {ROW}", Anchor(f"a = b(c)  # {ROW}\n\n    {ROW}", unique=True)),
        ("\n".join([ROW] * 40), Anchor(ROW.partition(" ")[0] + ROW[1:], unique=False)),
    ],
)
def test_the_anchor_grows_by_lines_until_it_stands_there_once(shown, anchor):
    """Answers repeat rows, lines and indentation: what stands there twice names no place."""
    assert anchor_of(shown) == anchor


def test_an_anchor_grows_over_a_gap_that_is_wider_than_itself():
    """A line that comes back behind hundreds of blank ones: the search for a place of its own goes on, and ends."""
    text, unique = anchor_of(f"{ROW}\nx\n{300 * chr(10)}{ROW}")
    assert unique
    assert text == f"x\n{300 * chr(10)}{ROW}"


@given(st.lists(st.sampled_from((ROW, f"{ROW}\n", "ab", "e\u0301", " " * 30, " " * 90, "\n" * 60, "x")), max_size=20))
def test_the_search_for_an_anchor_ends(parts):
    """Whatever repeats itself, and however far apart: the anchor is the end of what was shown."""
    shown = "".join(parts)
    assert shown.rstrip().endswith(anchor_of(shown).text)


def test_a_long_line_is_cut_by_steps():
    """A line of thousands of characters is not asked for whole, even where its end comes twice."""
    line = "x" * 700 + " mark " + "the end of it is said a second time, word by word, as above"
    text, unique = anchor_of(line[-59:] + " " + line)
    assert unique
    assert text.endswith(line[-59:])
    assert len(text) <= WITHIN_CHARS


@pytest.mark.parametrize("joint", ["\u0301", "\u200d", "\ufe0f"])
def test_the_anchor_does_not_begin_within_what_is_shown_as_one_character(joint):
    """An accent, a joined emoji: a model would not spell half of it."""
    shown = "y" * 30 + "\u2764" + joint + "z" * (ANCHOR_CHARS - 1)
    text, _ = anchor_of(shown)
    assert text[0] == "\u2764" if joint != "\u200d" else text[0] in "y\u2764"
    assert shown.endswith(text)


@given(st.text(alphabet="ab \n|", max_size=900))
def test_the_anchor_ends_what_was_shown(shown):
    """Whatever was shown, the anchor is its end, begins with no space, and unique means unique."""
    core = shown.rstrip()
    text, unique = anchor_of(shown)
    assert core.endswith(text)
    assert not text[:1].isspace()
    assert len(text) <= WITHIN_CHARS
    assert bool(text) == bool(core)
    if unique:
        assert core.find(text) == len(core) - len(text)


# --- by anchor ---------------------------------------------------------------------------------------

ANCHOR = anchor_of(SHOWN).text


@pytest.mark.parametrize(
    "reply",
    [
        ANCHOR + REST,
        f" \n{ANCHOR}{REST}",
        f"Sure, continuing:\n\n{ANCHOR}{REST}",
        f"Sure, continuing: {ANCHOR}{REST}",
        f"Here is the rest\n{ANCHOR}{REST}",
        f"\u597d\uff1a{ANCHOR}{REST}",
        f'You want me to begin with "{ANCHOR}".\n\n{ANCHOR}{REST}',
        f"The end was\n```\n{ANCHOR}\n```\nSo:\n{ANCHOR}{REST}",
        SECOND + REST,
        f"Sure:\n{SECOND}{REST}",
        SHOWN + REST,
        SHOWN[40:] + REST,
    ],
)
def test_ca1_the_anchor_is_cut_with_all_that_stands_before_it(reply):
    """A preamble, a quote, more than was asked for: the caller sees the rest and nothing twice (CA-1)."""
    assert by_anchor(SHOWN, [reply]) == REST
    assert by_anchor(SHOWN, reply) == REST


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "In short: it is a town in France.",
        "Of course! " + "Paris was never the capital of anything. " * 20,
        ANCHOR[:-1],
        f'"{ANCHOR}{REST}"',  # a closing quote would stay
        f"```\n{ANCHOR}{REST}\n```",
        f"```python\n{ANCHOR}{REST}\n```",
        f'"{ANCHOR} there.\n{ANCHOR} there."',
        f"They built it where {ANCHOR}{REST}",
        f"Sure:\n{ANCHOR}\n{ANCHOR}{REST}",
        f"The text ends so:\n{ANCHOR}\nAnd goes on so:\n{ANCHOR}{REST}",
        f"The text ends so:\n{ANCHOR}\n\nAnd goes on so:\n{ANCHOR}{REST}",
        f"<<<<<<<<\n{ANCHOR}\n>>>>>>>>\n{REST}",
        f"<<<<<<<<\n{ANCHOR}{REST}",
        f"Sure: **{ANCHOR}{REST}**",
        f"> {ANCHOR}{REST}",
        f'It ends with "{ANCHOR}". ' + "And so it ends. " * 60,
        "x" * WITHIN_CHARS + f":\n{ANCHOR}{REST}",
    ],
)
def test_ca1_without_a_proof_there_is_no_seam(reply):
    """Another beginning, a summary, a wrapping whose end nobody would cut: nothing of it is shown (CA-1)."""
    for pieces in ([reply], reply):
        with pytest.raises(Unjoined):
            by_anchor(SHOWN, pieces)


def test_a_missing_anchor_is_known_early():
    """As soon as it can come no more, not at the end of a long answer."""
    seam = Seam(SHOWN, anchor=anchor_of(SHOWN))
    for _ in range(WITHIN_CHARS + len(ANCHOR) - 1):
        assert not seam.feed("x")
    with pytest.raises(Unjoined):
        seam.feed("x")


def test_an_anchor_that_is_only_quoted_is_known_early_too():
    """A reply that speaks of it is not waited for."""
    seam = Seam(SHOWN, anchor=anchor_of(SHOWN))
    seam.feed(f'It ends with "{ANCHOR}". ')
    with pytest.raises(Unjoined):
        seam.feed("And so it ends. " * 40)


def test_ca1_a_long_answer_that_starts_anew_is_followed_to_its_end():
    """It repeats what was shown, far beyond the reach of a preamble, and is cut there; or departs, and is no seam."""
    shown = " ".join(str(number) for number in range(600))
    assert by_anchor(shown, [shown + REST]) == REST
    assert by_anchor(shown, f" \n{shown[1_000:]}{REST}") == REST
    twice = f"{shown}\n{shown}\nthe end of it is here, and is said only once in all of the"
    assert by_anchor(twice, twice + REST) == REST
    with pytest.raises(Unjoined):
        by_anchor(shown, shown[:-40] + "and so on")
    with pytest.raises(Unjoined):
        by_anchor(shown, [shown[:-40]])


def test_a_preamble_that_ends_as_the_line_before_the_anchor_ended():
    """The break between them is no overlap."""
    shown = f"{FIRST}\n\n{ROW}"
    assert anchor_of(shown).text == ROW
    assert by_anchor(shown, f"Here is the rest\n\n{ROW}{REST}") == REST


def test_a_line_that_the_answer_repeats_behind_a_preamble():
    """The anchor comes twice since the answer says it twice, not since it was quoted."""
    shown = f"{FIRST}\nThen this: {SECOND}"
    rest = f" there.\nThen this: {SECOND} there."
    assert by_anchor(shown, f"Sure:\n{anchor_of(shown).text}{rest}") == rest
    rest = f"\nThen this: {SECOND}"
    assert by_anchor(shown, f"Sure:\n{anchor_of(shown).text}{rest}") == rest


def test_a_block_that_is_open_may_be_opened_again():
    """Models open the code block anew in which they stopped; its end is then its own. Any other fence is a wrapping."""
    shown = f"{FIRST}\n\n```python\ndef f(x):\n    return [each for each in x if each is not None]\n\n\ndef g"
    text = anchor_of(shown).text
    rest = "(x):\n    pass\n```\n"
    assert by_anchor(shown, f"```python\n{text}{rest}") == rest
    with pytest.raises(Unjoined):
        by_anchor(shown, f"```\n{text}{rest}")


def test_of_a_few_words_or_a_text_that_repeats_itself_only_the_beginning_counts():
    """They may stand anywhere; a reply that begins with them goes on with them."""
    assert by_anchor("I'll", "I'll see.") == " see."
    for reply in ("Sure:\nI'll see.", "Let me see.", "I'"):
        with pytest.raises(Unjoined):
            by_anchor("I'll", reply)
    rows = f"{FIRST}\n" + "\n".join([ROW] * 20)
    assert by_anchor(rows, f"{ROW}\n{ROW}\n") == f"\n{ROW}\n"
    with pytest.raises(Unjoined):
        by_anchor(rows, f"Sure:\n{ROW}\n{ROW}\n")


def test_a_text_of_one_row_again_and_again_has_no_place_to_join():
    """A reply that starts such a text anew looks like one that goes on."""
    with pytest.raises(Unjoined):
        by_anchor("\n".join([ROW] * 40), ROW)


# --- by prefill --------------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", [REST, "s and roads" + REST, "\n\nParis is large.", "\nP", "Paris is", " \n x"])
def test_by_prefill_the_text_goes_straight_on(reply):
    """The row says that it does, and nothing speaks against it."""
    assert by_prefill(SHOWN, reply) == by_prefill(SHOWN, [reply]) == reply


@pytest.mark.parametrize("reply", [SHOWN + REST, f"\n{FIRST}"])
def test_ca1_by_prefill_a_second_answer_is_never_pasted_behind_the_first(reply):
    """A target that starts anew is followed to the end of what was shown; one that departs on the way is no seam."""
    assert by_prefill(SHOWN, SHOWN + REST) == REST
    for other in (FIRST[:30] + "Germany?", SHOWN[:-10] + "and so on", SHOWN[:-10], FIRST[:20], f"\n{FIRST}"):
        for pieces in ([other], other):
            with pytest.raises(Unjoined):
                by_prefill(SHOWN, pieces)


def test_by_prefill_nothing_said_proves_nothing():
    """An empty answer may be the end of the text as well as a broken provider."""
    for reply in ("", " \n"):
        with pytest.raises(Unjoined):
            by_prefill(SHOWN, reply)


def test_an_answer_may_repeat_its_beginning():
    """Lines that come again stand behind a break; where text repeats itself without, the row is trusted."""
    rows = f"{ROW} {FIRST}\nother\n{ROW} {FIRST}\nother"
    rest = f"\n{ROW} {FIRST}\nthe end"
    assert by_prefill(rows, rest) == rest
    assert by_prefill(rows, rows + rest) == rest
    zeros = "0,0,0,0," * 9 + "0"
    assert by_prefill(zeros, ",0,0,1") == ",0,0,1"
    assert by_prefill(zeros + ",", "0,0,0,0,0,0,0,0,0,0,1") == "0,0,0,0,0,0,0,0,0,0,1"
    assert by_prefill("====", "====\nTitle") == "====\nTitle"


@pytest.mark.parametrize("shown", ["- item", "Hello", "la la la la"])
def test_a_short_beginning_that_comes_again(shown):
    """Without a break it is the answer anew, behind one it may be the next line."""
    assert by_prefill(shown, f"{shown} two") == " two"
    assert by_prefill(shown, f"\n{shown} two") == f"\n{shown} two"


def test_one_letter_tells_nothing():
    """It may be the answer anew or its second letter."""
    with pytest.raises(Unjoined):
        by_prefill("1", "10")


def test_what_began_with_white_space_may_begin_so_anew():
    """Some models put line breaks before everything they say."""
    assert by_prefill(f"\n\n{SHOWN}", f"\n\n{SHOWN}{REST}") == REST
    assert by_prefill(f"\n\n{SHOWN}", SHOWN + REST) == REST


def test_a_target_that_echoes_is_held_to_it():
    """Mistral repeats the prefill (providers.md 3.7): behind its end, white space aside, all is new."""
    for shown in (SHOWN, f"{SHOWN} \n", f"\n{SHOWN}"):
        rest = REST if shown.endswith("town") else "x" + REST
        assert by_prefill(shown, shown.rstrip() + shown[len(shown.rstrip()) :] + rest, echoed=True) == rest
    for reply in ("", REST, SHOWN[:-1], SHOWN[:-1] + "x", FIRST):
        with pytest.raises(Unjoined):
            by_prefill(SHOWN, reply, echoed=True)


# --- white space at the seam -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behind", "rest", "new"),
    [
        (" ", " there", "there"),
        (" ", "there", "there"),
        ("\n", "\n\nthere", "\nthere"),
        ("\n\n", "\nthere", "there"),
        (" ", "\nthere", "\nthere"),
        ("\n  ", "\n    there", "  there"),
        ("", "  there", "  there"),
        (" \n", " ", ""),
    ],
)
def test_white_space_that_was_shown_does_not_come_again(behind, rest, new):
    """Models and providers strip it from the end of a prefill, or bring it again."""
    shown = SHOWN + behind
    assert by_anchor(shown, ANCHOR + rest) == by_anchor(shown, [ANCHOR + rest]) == new
    assert by_prefill(shown, SHOWN + rest, echoed=True) == new
    if rest.strip():
        assert by_prefill(shown, rest) == by_prefill(shown, [rest]) == new


def test_of_white_space_only_the_first_is_compared():
    """Behind the first word of the reply, breaks are new."""
    assert said(Seam(SHOWN + " \n", anchor=anchor_of(SHOWN)), ANCHOR, " x", "\ny") == "x\ny"
    seam = Seam(SHOWN + "\n", anchor=None)
    assert (seam.called(), seam.feed("\nx")) == ("", "\nx")


def test_joined_means_that_all_that_follows_is_new_as_it_comes():
    """Not before the white space has come that was shown already."""
    seam = Seam(SHOWN + "\n\n", anchor=anchor_of(SHOWN))
    seam.feed(ANCHOR)
    assert not seam.joined
    assert (seam.feed("\n"), seam.joined) == ("", False)
    assert (seam.feed("\n"), seam.joined) == ("", True)
    assert seam.feed("\nx") == "\nx"


# --- calls -------------------------------------------------------------------------------------------


def test_a_call_is_fine_by_prefill_and_behind_the_anchor():
    """The text was at its end; what was held of it comes out before the call."""
    assert Seam(SHOWN, anchor=None).called() == ""
    assert Seam(SHOWN, anchor=None, echoed=True).called() == ""
    seam = Seam(SHOWN, anchor=None)
    assert seam.feed("\nParis") == ""
    assert seam.called() == "\nParis"
    assert seam.joined
    assert seam.finish() == ""
    seam = Seam(SHOWN, anchor=anchor_of(SHOWN))
    assert (seam.feed(ANCHOR), seam.called(), seam.feed("x")) == ("", "", "x")
    seam = Seam(SHOWN, anchor=anchor_of(SHOWN))
    assert (seam.feed(f"Sure:\n{ANCHOR} there."), seam.called()) == ("", " there.")


def test_a_call_in_place_of_the_anchor_proves_nothing_of_the_text():
    """Words may be missing between what was shown and the call."""
    for reply, more in (("", {}), ("Now the call.", {}), (ANCHOR[:9], {}), (SHOWN[:-9], {"echoed": True})):
        seam = Seam(SHOWN, anchor=None if more else anchor_of(SHOWN), **more)
        seam.feed(reply)
        with pytest.raises(Unjoined):
            seam.called()


@pytest.mark.parametrize("reply", ["", "Now I call it.", "x" * 900, ANCHOR, SHOWN[:-9], SHOWN[:30] + "no"])
@pytest.mark.parametrize("way", ["anchor", "prefill"])
def test_where_the_text_was_whole_a_call_needs_no_seam(reply, way):
    """The first attempt had closed its text: what the second says beside the call, the caller does without."""
    seam = Seam(SHOWN, anchor=anchor_of(SHOWN) if way == "anchor" else None, ended=True)
    seam.feed(reply)
    seam.feed("")
    new = seam.called()
    assert seam.joined
    assert new in ("", reply)
    assert not new or way == "prefill"


def test_where_the_text_was_whole_and_no_call_comes_the_seam_is_needed():
    """An answer that does not call after all, and says something else, is not its end."""
    seam = Seam(SHOWN, anchor=anchor_of(SHOWN), ended=True)
    seam.feed("x" * 900)
    with pytest.raises(Unjoined):
        seam.finish()


# --- all of it, over answers that repeat themselves ---------------------------------------------------

WORDS = ["alpha", "beta", "gamma", "the", "of", "\u4eca\u5929", "na\u00efve", "\U0001f642", "x1", "delta"]


def an_answer(rng):
    """Lines of prose, rows, code, items and fences; a third of them were said before."""
    lines = []
    for _ in range(rng.randint(1, 12)):
        words = [rng.choice(WORDS) for _ in range(rng.choice([2, 4, 9, 30]))]
        lines.append(
            rng.choice([
                rng.choice(lines or ["Begin."]), " ".join(words), f"| {' | '.join(words)} |", f"- {words[0]}",
                f"    {words[0]} = {words[1]}()", "".join(words) + ".", "", "```",
            ])
        )  # fmt: skip
    return "\n".join(lines).strip("\n") or "Nothing."


def a_reply(rng, shown, whole):
    """One of the ways to go on: the seam for it, and what the model says."""
    core = shown.rstrip()
    rest, anchor = whole[len(core) :], anchor_of(shown)
    before = len(core) - len(anchor.text)
    way = rng.choice(["prefill", "anew", "echo", "anchor", "preamble", "overlap", "anew by order", "other"])
    seam = Seam(shown, anchor=anchor)
    match way:
        case "prefill":
            return way, Seam(shown, anchor=None), rest
        case "anew":
            return way, Seam(shown, anchor=None if len(core) >= 24 else anchor), whole
        case "echo":
            return way, Seam(shown, anchor=None, echoed=True), core + rest
        case "anchor":
            return way, seam, anchor.text + rest
        case "preamble":
            return way, seam, rng.choice(["Sure:\n\n", "Of course! Going on: ", "\n"]) + anchor.text + rest
        case "overlap":
            start = rng.randint(max(0, before - 200), before) if anchor.unique else before
            return way, seam, core[start:].lstrip() + rest
        case "anew by order":
            return way, seam, whole
    return way, seam, "I am sorry, but I have lost the thread. " + "".join(rng.choice(WORDS) for _ in range(200))


def in_pieces(rng, text):
    while text:
        size = rng.choice([1, 2, 3, 7, 20, 90, 5_000])
        yield text[:size]
        text = text[size:]


def outcome(seam, pieces):
    try:
        return said(seam, *pieces)
    except Unjoined:
        return None


@given(st.integers(0, 2**32))
def test_no_character_is_missing_and_none_comes_twice(seed):
    """However an answer goes on, the caller has the uncut one or is told; and no border of a chunk ever matters."""
    rng = random.Random(seed)
    whole = an_answer(rng)
    shown = whole[: rng.randint(1, len(whole))]
    if not shown.strip():
        return
    state = rng.getstate()
    way, seam, reply = a_reply(rng, shown, whole)
    new = outcome(seam, [reply])
    rng.setstate(state)
    _, again, _ = a_reply(rng, shown, whole)
    assert outcome(again, in_pieces(rng, reply)) == new
    if way == "other":
        assert new is None or len(shown.strip()) < 12
    elif new is None:
        assert way != "echo"
        assert way != "anchor" or not anchor_of(shown).unique
    else:
        assert shown + new == whole
