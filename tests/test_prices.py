"""What usage costs: by the formula of the price pages, and never 0 where it is not known."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import rtnb
from rtnb import prices
from rtnb.endpoints import DEFAULT_MODEL
from rtnb.prices import PRICES, Cost, Price, cost_of, dollars, price_of, total, why_unpriced
from rtnb.quality import CallQuality
from rtnb.recorded import Recorded
from rtnb.turns import Turn
from rtnb.turnstate import ResponseState, TurnState

MODEL = "gpt-realtime-2.1"
USAGE: dict[str, Any] = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {
        "text_tokens": 119,
        "audio_tokens": 13,
        "image_tokens": 0,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}
# by hand: (119 - 64) x 4 + 64 x 0.40 + 13 x 32 + 30 x 24 + 91 x 64 USD for a million
BY_HAND = 7205.6e-6


def given(text: int, audio: int | None, *, image: int = 0, **more: Any) -> dict[str, Any]:
    """Return the usage of an input without an output."""
    details = {"text_tokens": text, "audio_tokens": audio, "image_tokens": image, **more}
    out = {"output_tokens": 0, "output_token_details": {"text_tokens": 0, "audio_tokens": 0}}
    return {"input_tokens": text + (audio or 0) + image, "input_token_details": details, **out}


@pytest.fixture
def own_table() -> Iterator[None]:
    """Put the table back afterwards."""
    before = dict(PRICES)
    yield
    prices._table.clear()
    prices._table.update(before)


# --- one usage -------------------------------------------------------------------------------------


def test_the_cost_is_that_of_the_price_page() -> None:
    """Cached tokens are part of the counts, and are not paid twice."""
    cost = cost_of(USAGE, MODEL)
    assert cost == pytest.approx(BY_HAND, rel=1e-12)
    assert cost is not None
    assert math.fsum(cost.parts.values()) == pytest.approx(cost)
    assert cost.parts["text_in"] == pytest.approx(55 * 4e-6)
    assert cost.parts["text_cached"] == pytest.approx(64 * 0.4e-6)
    assert (cost.model, cost.currency, cost.count) == (MODEL, "USD", 1)
    assert "autumn 2026" in cost.prices


def test_images_have_prices_of_their_own() -> None:
    """Cached ones too."""
    cached = {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 100}
    usage = given(0, 0, image=300, cached_tokens=100, cached_tokens_details=cached)
    assert cost_of(usage, MODEL) == pytest.approx(200 * 5e-6 + 100 * 0.5e-6)


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("gpt-realtime-2", BY_HAND),
        ("gpt-realtime-1.5", BY_HAND - 30 * 8e-6),
        ("gpt-realtime-2.1-mini", (55 * 0.6 + 64 * 0.06 + 13 * 10 + 30 * 2.4 + 91 * 20) * 1e-6),
        ("gpt-4o-realtime-preview", (55 * 5 + 64 * 2.5 + 13 * 40 + 30 * 20 + 91 * 80) * 1e-6),
    ],
)
def test_each_model_has_its_price(model: str, usd: float) -> None:
    """By hand from the page of the model."""
    assert cost_of(USAGE, model) == pytest.approx(usd)


def test_the_usual_model_has_a_price() -> None:
    """It is what `connect` asks for, and what the local peer says it is."""
    assert price_of(DEFAULT_MODEL) is not None


@pytest.mark.parametrize("usage", [{}, None, "12", [], 3])
def test_no_usage_has_no_cost(usage: Any) -> None:
    """It is not free."""
    assert cost_of(usage, MODEL) is None
    assert "reported no usage" in why_unpriced(usage, MODEL)


def test_a_usage_of_nothing_costs_nothing() -> None:
    """The service said so: that is a 0 that is known."""
    assert cost_of(given(0, 0), MODEL) == 0.0
    assert why_unpriced(given(0, 0), MODEL) == ""


@pytest.mark.parametrize("model", ["gpt-9", "", None, "GPT-REALTIME-2.1", "gpt-realtime-2.1-x"])
def test_an_unknown_model_has_no_price(model: str | None) -> None:
    """None, never 0; and the reason says how to add one."""
    assert cost_of(USAGE, model) is None
    assert "rtnb.prices.add" in why_unpriced(USAGE, model)


def test_a_figure_that_is_not_settled_is_not_guessed() -> None:
    """gpt-realtime's audio prices are left out; its text has a price."""
    assert cost_of(USAGE, "gpt-realtime") is None
    assert why_unpriced(USAGE, "gpt-realtime") == (
        "The price of audio_in is not known for 'gpt-realtime'."
    )
    assert cost_of(given(100, 0), "gpt-realtime") == pytest.approx(400e-6)


# --- what a service leaves out -----------------------------------------------------------------------


def without(*path: str) -> dict[str, Any]:
    """Return the usage without one of its keys."""
    usage: dict[str, Any] = json.loads(json.dumps(USAGE))
    inner = usage
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return usage


@pytest.mark.parametrize(
    "path",
    [
        ("total_tokens",),
        ("input_tokens",),
        ("output_tokens",),
        ("input_token_details", "image_tokens"),
        ("input_token_details", "audio_tokens"),
        ("output_token_details", "text_tokens"),
        ("input_token_details", "cached_tokens_details", "audio_tokens"),
        ("input_token_details", "cached_tokens_details", "text_tokens"),
    ],
    ids="/".join,
)
def test_what_the_totals_settle_needs_no_detail(path: tuple[str, ...]) -> None:
    """The counts that are there leave only one value for what is not."""
    assert cost_of(without(*path), MODEL) == pytest.approx(BY_HAND)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (("input_token_details",), "did not count its input tokens by kind"),
        (("output_token_details",), "did not count its output tokens by kind"),
        (("input_token_details", "cached_tokens_details"), "its cached tokens by kind"),
    ],
    ids=["input", "output", "cached"],
)
def test_what_is_not_settled_has_no_cost(path: tuple[str, ...], why: str) -> None:
    """Text and audio differ eightfold: no guess would be near."""
    assert cost_of(without(*path), MODEL) is None
    assert why in why_unpriced(without(*path), MODEL)


def test_cached_tokens_of_one_kind_need_no_split() -> None:
    """Of an input of text alone, or cached as a whole, it is clear which they are."""
    assert cost_of(given(100, 0, cached_tokens=64), MODEL) == pytest.approx(36 * 4e-6 + 64 * 0.4e-6)
    assert cost_of(given(60, 40, cached_tokens=100), MODEL) == pytest.approx(100 * 0.4e-6)
    assert cost_of(given(60, 40, cached_tokens=None), MODEL) == cost_of(given(60, 40), MODEL)


@pytest.mark.parametrize(
    "usage",
    [
        given(10, 0, cached_tokens=64),
        given(10, 5, cached_tokens=8, cached_tokens_details={"text_tokens": 2, "audio_tokens": 6}),
        given(10, 5) | {"input_tokens": 4},
        given(10, 5) | {"input_tokens": 99},
        given(10, 5) | {"output_tokens": "many"},
        given(10, 5, cached_tokens=True),
        given(-3, 5),
        given(10, None) | {"input_tokens": 4},
        given(10, None) | {"input_tokens": None},
        given(10, 5) | {"output_tokens": 2, "output_token_details": {"text_tokens": 5}},
        given(10, 5) | {"input_tokens": math.nan},
        given(10, 5) | {"input_tokens": 10**400},
        {"type": "duration", "seconds": "3"},
    ],
)
def test_counts_that_make_no_sense_have_no_cost(usage: dict[str, Any]) -> None:
    """They do not add up, or are no numbers; the reason is a sentence."""
    model = "gpt-realtime-whisper" if "seconds" in usage else MODEL
    assert cost_of(usage, model) is None
    assert why_unpriced(usage, model).endswith(".")


# --- transcription -----------------------------------------------------------------------------------


def test_a_transcription_is_paid_by_the_minute() -> None:
    """Its usage has another shape, and its model another price."""
    usage = {"type": "duration", "seconds": 30}
    assert cost_of(usage, "gpt-realtime-whisper") == pytest.approx(0.0085)
    assert "minute" in why_unpriced(usage, MODEL)
    counted = USAGE | {"type": "tokens", "seconds": 30}
    assert cost_of(counted, MODEL) == pytest.approx(BY_HAND)


# --- prices ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("snapshot", "name"),
    [
        ("gpt-realtime-2025-08-28", "gpt-realtime"),
        ("gpt-realtime-mini-2025-12-15", "gpt-realtime-mini"),
        ("gpt-4o-realtime-preview-2024-12-17", "gpt-4o-realtime-preview"),
    ],
)
def test_a_dated_snapshot_has_the_price_of_its_name(snapshot: str, name: str) -> None:
    """The pages list snapshots beneath one price."""
    assert price_of(snapshot) is PRICES[name]


def test_the_first_snapshot_had_another_price() -> None:
    """It is not taken for that of the later ones."""
    assert price_of("gpt-4o-realtime-preview-2024-10-01") is None


def test_every_price_says_when_and_where() -> None:
    """A figure without a date is none."""
    assert all(price.date and price.source for price in PRICES.values())


@pytest.mark.usefixtures("own_table")
def test_your_own_price_goes_first() -> None:
    """For a model that is not in the table, for its snapshots, and in place of a built-in one."""
    mine = Price(text_in=1, text_cached=1, text_out=1, audio_in=1, audio_cached=1, audio_out=1)
    prices.add("my-model", mine)
    prices.add(MODEL, mine)
    assert cost_of(USAGE, "my-model") == pytest.approx(253e-6)
    assert cost_of(USAGE, "my-model-2026-01-02") == pytest.approx(253e-6)
    assert cost_of(USAGE, MODEL) == pytest.approx(253e-6)
    assert getattr(cost_of(USAGE, MODEL), "prices", "") == "your own price"


@pytest.mark.parametrize("figure", [-1, math.nan, math.inf, "4", True])
def test_a_price_is_a_number(figure: Any) -> None:
    """The sentence names the figure."""
    with pytest.raises(rtnb.ConfigurationError, match="audio_out="):
        Price(audio_out=figure)


@pytest.mark.parametrize(("model", "price"), [("", Price()), ("m", {"text_in": 4}), (3, Price())])
def test_what_is_no_price_is_refused(model: Any, price: Any) -> None:
    """The table stays as it is."""
    with pytest.raises(rtnb.ConfigurationError, match="takes a model's id"):
        prices.add(model, price)


def test_the_table_is_not_changed_by_accident() -> None:
    """`add` is the way."""
    with pytest.raises(TypeError):
        PRICES["x"] = Price()  # type: ignore[index]


# --- an amount ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0.0, "$0.00"),
        (0.0072056, "$0.0072"),
        (0.00003123, "$0.000031"),
        (0.25, "$0.2500"),
        (1234.5, "$1,234.50"),
        (math.inf, "$inf"),
    ],
)
def test_an_amount_shows_what_counts(amount: float, shown: str) -> None:
    """No cost is rounded to 0."""
    assert dollars(amount) == shown
    assert repr(Cost(amount)) == str(Cost(amount)) == shown


def test_a_cost_is_a_float() -> None:
    """It adds up, is formatted, written as JSON and pickled as one; its parts stay with it."""
    cost = cost_of(USAGE, MODEL)
    assert cost is not None
    assert cost + 1 == pytest.approx(1 + BY_HAND)
    assert f"{cost:.3f}" == "0.007"
    assert json.loads(json.dumps(cost)) == float(cost)
    assert pickle.loads(pickle.dumps(cost)).parts == cost.parts


def test_costs_add_up_with_their_parts() -> None:
    """Models and counts too; one that is not known makes the sum unknown."""
    one, other = cost_of(USAGE, MODEL), cost_of(given(0, 10), "gpt-realtime-1.5")
    both = total([one, other])
    assert one is not None
    assert other is not None
    assert both is not None
    assert both == pytest.approx(one + other)
    assert both.parts["audio_in"] == pytest.approx(23 * 32e-6)
    assert (both.count, both.model) == (2, f"{MODEL}, gpt-realtime-1.5")
    assert total([]) is total([one, None]) is None


# --- turns -------------------------------------------------------------------------------------------


def turn(*usages: dict[str, Any] | None, model: str | None = MODEL) -> Turn:
    """Return a turn with a response for each usage."""
    state = TurnState(1, "audio", 0.0, ended=1.0)
    state.responses = [ResponseState(str(i), 0.1, usage=u) for i, u in enumerate(usages)]
    source: Any = SimpleNamespace(model=model)
    return Turn(state, source)


def test_a_turn_costs_what_its_responses_do() -> None:
    """A tool call has two; one that reported nothing is not in it."""
    assert turn(USAGE, USAGE, None).cost == pytest.approx(2 * BY_HAND)
    assert getattr(turn(USAGE, USAGE).cost, "count", 0) == 2


def test_a_turn_without_usage_has_no_cost() -> None:
    """Nor one of which a part is not known."""
    assert turn().cost is turn(None).cost is turn(USAGE, model="gpt-9").cost is None
    assert turn(USAGE, without("input_token_details")).cost is None


def test_turns_cost_what_they_do_together() -> None:
    """A turn that used nothing counts for nothing; one without a price makes it unknown."""
    assert rtnb.Turns([turn(USAGE), turn(), turn(USAGE)]).cost == pytest.approx(2 * BY_HAND)
    assert rtnb.Turns([turn(USAGE), turn(USAGE, model="gpt-9")]).cost is None
    assert rtnb.Turns([turn(), turn()]).cost is rtnb.Turns().cost is None


def test_a_call_without_a_price_says_why() -> None:
    """Where its cost would be."""
    turns = rtnb.Turns([turn(USAGE, model="gpt-9")])
    call: Any = SimpleNamespace(turns=turns, cost=turns.cost, quality=CallQuality())
    cost, quality = Recorded._figures(call)
    assert cost[0] == "cost"
    assert str(cost[1]).startswith("no cost: There is no price for the model 'gpt-9'")
    assert quality == ("quality", "nothing received, nothing sent")


def test_a_call_to_the_peer_has_a_cost(brief: rtnb.Session) -> None:
    """Turn, turns, session and frame say the same, from the usage in the events."""
    one = brief.ask("What is the capital of France?")
    usage = [e.data["response"]["usage"] for e in one.events if e.type == "response.done"]
    assert one.cost == pytest.approx(sum(cost_of(u, brief.model) or 0.0 for u in usage))
    assert one.cost is not None
    assert one.cost > 0
    assert brief.cost == brief.turns.cost == pytest.approx(sum(t.cost or 0 for t in brief.turns))
    assert brief.turns[-1:].to_frame()["cost"].iloc[0] == float(one.cost)


def test_the_usage_of_a_turn_is_that_of_its_responses() -> None:
    """Number by number, and the usages themselves stay as they are."""
    total = turn(USAGE, None, USAGE).usage
    assert total["input_tokens"] == 264
    assert total["input_token_details"]["cached_tokens_details"]["text_tokens"] == 128
    assert USAGE["input_tokens"] == 132
    assert turn(None).usage == {}


def test_a_sum_of_usages_takes_numbers_only() -> None:
    """Words, damage and what is a number in one and none in another are left out."""
    odd = [{"type": "tokens", "n": 1}, {"n": math.nan}, {"n": True}, {"n": 10**400}, {"n": 0.5}]
    assert prices.added([*odd, {"n": {"of": 3}}, None, 7]) == {"n": 1.5}
    assert prices.added([{"n": {"of": 3}}, {"n": 4}, {"n": {"of": 1}}]) == {"n": {"of": 4}}
