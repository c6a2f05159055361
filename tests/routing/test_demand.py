"""Demand: size, needs, difficulty and conversation of a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.catalog import Capability
from hermes_router.core.chat import ChatRequest
from hermes_router.routing.demand import Constraint, affinity_key, assess, difficulty, estimate_tokens


def asked(text: str, **fields: object) -> ChatRequest:
    """A request with this last user turn."""
    return ChatRequest(model="m", last_user=text, last_user_chars=len(text), **fields)  # type: ignore[arg-type]


def test_w1_a_trivial_question_is_trivial() -> None:
    """A greeting and a small sum are difficulty 1."""
    assert difficulty(asked("hi")) == 1
    assert difficulty(asked("What is 2+2?")) == 1


def test_w11_prose_that_names_code_is_not_code() -> None:
    """Words such as class, import and function mean nothing: only the signs of code do."""
    assert difficulty(asked("a first class city, a function of import duty")) == 1


def test_w11_the_system_prompt_and_history_do_not_count() -> None:
    """An agent's 100 KB of system prompt and tools leave a greeting easy."""
    assert difficulty(asked("hi", text_bytes=100_000, messages=40, tools=60)) == 2


def test_code_length_and_structure_make_it_harder() -> None:
    """A fence, many characters and a list of tasks each raise the score."""
    plain = "please look at this " * 20
    assert difficulty(asked(plain)) < difficulty(asked(plain + "```py\nx = {1: 2}\n```"))
    assert difficulty(asked("word " * 40)) < difficulty(asked("word " * 200)) < difficulty(asked("word " * 700))
    assert difficulty(asked("do:\n1 a\n2 b\n3 c\n- d")) > difficulty(asked("do: a b c d"))


def test_unfenced_code_is_code() -> None:
    """More braces, semicolons and equals signs than prose has are code without a fence."""
    assert difficulty(asked("if (a == b) { x = y; z = 1; } else { x = 2; }")) > 1


def test_a_language_that_says_more_per_character_scores_as_hard() -> None:
    """The same task in Chinese has a third of the characters and the same difficulty as in English."""
    english = "Please analyse the following design and explain which parts of it will fail under load. " * 12
    chinese = "请分析以下设计并解释其中哪些部分在高负载下会失败。" * 14
    assert abs(difficulty(asked(english)) - difficulty(asked(chinese))) <= 1
    assert difficulty(asked(chinese)) >= 2


@pytest.mark.parametrize(("effort", "least"), [("high", 4), ("xhigh", 5), ("max", 5)])
def test_a_requested_effort_is_a_floor(effort: str, least: int) -> None:
    """High effort asks for a strong model whatever the words are."""
    assert difficulty(asked("hi", effort=effort)) >= least


def test_low_effort_lowers() -> None:
    """Low effort takes a point off."""
    text = "x " * 500
    assert difficulty(asked(text, effort="low")) == difficulty(asked(text)) - 1


def test_difficulty_does_not_fall_within_a_conversation() -> None:
    """The floor of the conversation holds for its later turns, and not for a first one."""
    later = asked("ok", assistant_turns=1, conversation="c")
    assert assess(later, caller="k", floor_difficulty=4).difficulty == 4
    assert assess(asked("ok", conversation="c"), caller="k", floor_difficulty=4).difficulty == 1


def test_an_explicit_session_names_the_conversation() -> None:
    """An explicit id wins over the digest, the router key separates callers, and nothing known is no key."""
    with_both = asked("hi", session="s", conversation="c")
    assert affinity_key(with_both, "a") == affinity_key(asked("other", session="s"), "a")
    assert affinity_key(with_both, "a") != affinity_key(with_both, "b")
    assert affinity_key(asked("hi", session="c"), "a") != affinity_key(asked("hi", conversation="c"), "a")
    assert affinity_key(asked("hi"), "a") is None


def test_cp5_another_model_name_is_the_same_conversation() -> None:
    """A suffix on the model's name does not end the session."""
    one = ChatRequest(model="hermes-router", session="s")
    two = ChatRequest(model="hermes-router(high)", session="s")
    assert affinity_key(one, "a") == affinity_key(two, "a")


def test_needs_follow_the_request() -> None:
    """Each feature that a model may lack becomes a need."""
    request = asked(
        "x",
        tools=1,
        images=1,
        audio=True,
        files=True,
        logprobs=True,
        choices=2,
        json_format="json_schema",
        compaction=True,
    )
    assert assess(request, caller="k").needs == {
        Capability.TOOLS,
        Capability.IMAGES,
        Capability.AUDIO,
        Capability.FILES,
        Capability.LOGPROBS,
        Capability.MULTIPLE,
        Capability.JSON_SCHEMA,
        Capability.COMPACTION,
    }
    assert assess(asked("x", json_format="json_object"), caller="k").needs == {Capability.JSON_OBJECT}


def test_needs_are_shared_sets() -> None:
    """Equal needs are one object, so that a plan's cache key hashes nothing anew."""
    assert assess(asked("x", tools=1), caller="k").needs is assess(asked("y", tools=9), caller="k").needs


def test_ha7_tools_and_images_count_in_the_size() -> None:
    """64 tools of 26K tokens and a picture are part of the estimate."""
    bare = estimate_tokens(asked("hi", text_bytes=400))
    assert 90 < bare < 140
    assert estimate_tokens(asked("hi", text_bytes=94_000)) > 24_000
    assert estimate_tokens(asked("hi", text_bytes=400, images=2)) > bare + 2_000


def test_light_is_small_and_easy() -> None:
    """Light is at most 2,000 estimated tokens and difficulty 2."""
    assert assess(asked("hi", text_bytes=7_000), caller="k").light
    assert not assess(asked("hi", text_bytes=7_400), caller="k").light
    assert not assess(asked("hi", effort="high"), caller="k").light


def test_images_are_told_from_links() -> None:
    """Inline images and links to images are counted apart."""
    both = assess(asked("x", images=2, image_urls=1), caller="k")
    assert both.inline_images
    assert both.image_urls == 1
    assert not assess(asked("x", images=1, image_urls=1), caller="k").inline_images


def test_a_constraint_allows_all_by_default() -> None:
    """An empty constraint excludes nothing."""
    assert Constraint().providers is None
    assert not Constraint().tried


@given(st.text(max_size=400), st.integers(0, 50), st.integers(0, 50), st.sampled_from([None, "none", "high", "odd"]))
def test_difficulty_is_within_its_scale(text: str, tools: int, turns: int, effort: str | None) -> None:
    """Whatever is asked, the score is 1 to 5."""
    request = asked(text, tools=tools, assistant_turns=turns, tool_results=turns, effort=effort)
    assert 1 <= assess(request, caller="k", floor_difficulty=9 if turns else 1).difficulty <= 5
