"""Dated prices of models, and what a usage object costs by them; it must not know a session.

The built-in prices are USD, as OpenAI's model pages (developers.openai.com) had them in autumn 2026,
and are no quotation: prices change, and a contract may have others. They hold wherever the model's
name is the same, so a call to a peer on this machine is shown with what it would have cost. A
figure that those pages did not settle is left out, and what needs it is unpriced: None, never 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from rtnb.errors import ConfigurationError

__all__ = [
    "PRICES",
    "Cost",
    "Price",
    "add",
    "added",
    "cost_of",
    "dollars",
    "price_of",
    "total",
    "why_unpriced",
]

_SEEN: Final = "autumn 2026"
_PAGES: Final = "OpenAI's model pages, developers.openai.com"
_MILLION: Final = 1e6
_MOST: Final = 1e15  # of anything; more is damage
_Row = tuple[float | None, ...]
_SNAPSHOT: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_INPUT: Final = ("text", "audio", "image")
_OUTPUT: Final = ("text", "audio")
# a snapshot that did not cost what its name does
_APART: Final = frozenset({"gpt-4o-realtime-preview-2024-10-01"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs: USD for a million tokens of each kind, or for a minute of audio.

    Attributes
    ----------
    text_in, text_cached, text_out : float or None
        For a million text tokens of input, of input that was cached, and of output; None where it is
        not known: what needs it has no price then.
    audio_in, audio_cached, audio_out : float or None
        For audio tokens.
    image_in, image_cached : float or None
        For image tokens.
    minute : float or None
        For a minute of audio, of a model that bills by duration.
    date : str
        When the figures were seen.
    source : str
        Where.

    Raises
    ------
    ConfigurationError
        A figure is negative, or no finite number.
    """

    text_in: float | None = None
    text_cached: float | None = None
    text_out: float | None = None
    audio_in: float | None = None
    audio_cached: float | None = None
    audio_out: float | None = None
    image_in: float | None = None
    image_cached: float | None = None
    minute: float | None = None
    date: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if name not in ("date", "source") and value is not None and not _is_amount(value):
                raise ConfigurationError(f"{name}= of a Price is 0 or more USD, not {value!r}.")

    def __str__(self) -> str:
        seen = f", as seen in {self.date}" if self.date else ""
        return f"{self.source or 'your own price'}{seen}"


class Cost(float):
    """An amount in USD: a float that knows what it is made of.

    Attributes
    ----------
    parts : dict
        USD by kind: text_in, text_cached, text_out, audio_in, and so on; they add up to the amount.
    model : str
        The model that was priced; of several, joined with ``", "``.
    prices : str
        Whose prices these are, and of when.
    count : int
        How many usage objects are in it.
    """

    currency: Final = "USD"
    parts: dict[str, float]
    model: str
    prices: str
    count: int

    def __new__(
        cls,
        amount: float = 0.0,
        *,
        parts: Mapping[str, float] = MappingProxyType({}),
        model: str = "",
        prices: str = "",
        count: int = 1,
    ) -> Cost:
        """Return an amount with its parts."""
        cost = super().__new__(cls, amount)
        cost.parts, cost.model, cost.prices, cost.count = dict(parts), model, prices, count
        return cost

    def __repr__(self) -> str:
        return dollars(self)


def dollars(amount: float) -> str:
    """Return an amount as text: cents at least, and of small amounts two digits that count."""
    if not amount or not math.isfinite(amount) or abs(amount) >= 1:
        return f"${amount:,.2f}"
    places = max(1 - math.floor(math.log10(abs(amount))), 4)
    return f"${amount:.{places}f}"


def _is_amount(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < _MOST


def _page(text: _Row, audio: _Row, image: _Row = (None, None)) -> Price:
    """Return the prices of a model page: input, cached input and output; images have no output."""
    names = [f"{kind}_{way}" for kind in _INPUT for way in ("in", "cached", "out")][:-1]
    figures = dict(zip(names, (*text, *audio, *image), strict=True))
    return Price(**figures, date=_SEEN, source=_PAGES)


_UNSETTLED: Final[_Row] = (None, None, None)
_table: Final[dict[str, Price]] = {
    "gpt-realtime-2.1": _page((4.0, 0.4, 24.0), (32.0, 0.4, 64.0), (5.0, 0.5)),
    "gpt-realtime-2": _page((4.0, 0.4, 24.0), (32.0, 0.4, 64.0), (5.0, 0.5)),
    "gpt-realtime-1.5": _page((4.0, 0.4, 16.0), (32.0, 0.4, 64.0), (5.0, 0.5)),
    "gpt-realtime": _page((4.0, 0.4, 16.0), _UNSETTLED),
    "gpt-realtime-2.1-mini": _page((0.6, 0.06, 2.4), (10.0, 0.3, 20.0), (0.8, 0.08)),
    "gpt-realtime-mini": _page((0.6, None, 2.4), (10.0, 0.3, None)),
    "gpt-4o-realtime-preview": _page((5.0, 2.5, 20.0), (40.0, 2.5, 80.0)),
    "gpt-4o-mini-realtime-preview": _page((0.6, 0.3, 2.4), (10.0, 0.3, 20.0)),
    "gpt-realtime-whisper": Price(minute=0.017, date=_SEEN, source=_PAGES),
}
PRICES: Final[Mapping[str, Price]] = MappingProxyType(_table)
"""The prices in use, by model; `add` puts in another."""


def add(model: str, price: Price) -> None:
    """Use a price of your own for a model, also in place of a built-in one, until Python ends.

    Parameters
    ----------
    model
        Its id; dated snapshots of it (``…-2026-05-07``) have the same price, unless they have one
        of their own.
    price
        Say its `date` and `source`: they are shown beside each amount.

    Raises
    ------
    ConfigurationError
        `price` is no `Price`, or the model has no name.
    """
    if not isinstance(price, Price) or not isinstance(model, str) or not model:
        raise ConfigurationError(
            "rtnb.prices.add(model, price) takes a model's id and a rtnb.prices.Price."
        )
    _table[model] = price


def price_of(model: str | None) -> Price | None:
    """Return the price of a model, or of the one that it is a dated snapshot of; None if unknown."""
    if not isinstance(model, str):
        return None
    if model in _table:
        return _table[model]
    return None if model in _APART else _table.get(_SNAPSHOT.sub("", model))


def cost_of(usage: Any, model: str | None) -> Cost | None:
    """Return what a usage object costs, in USD; None where that cannot be told, see `why_unpriced`.

    The counts by modality include the cached tokens, which are taken out of them: each modality
    costs (input - cached) x its input price + cached x its cached price + output x its output
    price. A count that the service left out is taken from the total where that settles it; a
    part that is not settled (cached tokens without their modality, when there is text and audio) is
    not guessed.

    Parameters
    ----------
    usage
        ``usage`` of ``response.done``, or of an input's transcription: tokens, or its duration.
    model
        The model that was used; for a transcription, the transcription's model.
    """
    try:
        return _priced(usage, model)
    except _UnpricedError:
        return None


def why_unpriced(usage: Any, model: str | None) -> str:
    """Return why a usage object has no cost, in a sentence; "" where it has one."""
    try:
        _priced(usage, model)
    except _UnpricedError as error:
        return str(error)
    return ""


def total(costs: Iterable[Cost | None]) -> Cost | None:
    """Return the sum of some costs; None of none at all, or where one of them is not known."""
    given = list(costs)
    several = [cost for cost in given if cost is not None]
    if not several or len(several) < len(given):
        return None
    parts: dict[str, float] = {}
    for cost in several:
        for name, amount in cost.parts.items():
            parts[name] = parts.get(name, 0.0) + amount
    return Cost(
        math.fsum(several),
        parts=parts,
        model=", ".join(dict.fromkeys(cost.model for cost in several)),
        prices="; ".join(dict.fromkeys(cost.prices for cost in several)),
        count=sum(cost.count for cost in several),
    )


def added(usages: Iterable[Any]) -> dict[str, Any]:
    """Return the sum of usage objects, number by number; what has not the shape of one is left out."""
    whole: dict[str, Any] = {}
    for usage in usages:
        _add(whole, usage)
    return whole


def _add(whole: dict[str, Any], usage: Any) -> None:
    for key, value in usage.items() if isinstance(usage, dict) else ():
        if isinstance(value, dict):
            before = whole.setdefault(key, {})
            if isinstance(before, dict):
                _add(before, value)
        elif _is_amount(value) and not isinstance(whole.get(key), dict):
            whole[key] = whole.get(key, 0) + value


# --- one usage object ----------------------------------------------------------------------------


class _UnpricedError(Exception):
    """Why there is no cost."""


@dataclass(frozen=True, slots=True)
class _Bill:
    """A model and its price, and what has been put on it."""

    model: str
    price: Price
    parts: dict[str, float] = field(default_factory=dict)

    def put(self, name: str, amount: float, per: float) -> None:
        """Put so much of something on the bill."""
        if not amount:
            return
        price = getattr(self.price, name)
        if price is None:
            raise _UnpricedError(f"The price of {name} is not known for {self.model!r}.")
        self.parts[name] = amount * price / per

    def sum(self) -> Cost:
        amount = math.fsum(self.parts.values())
        return Cost(amount, parts=self.parts, model=self.model, prices=str(self.price))


def _priced(usage: Any, model: str | None) -> Cost:
    if not isinstance(usage, Mapping) or not usage:
        raise _UnpricedError("The service reported no usage.")
    price = price_of(model)
    if price is None or model is None:
        raise _UnpricedError(
            f"There is no price for the model {model!r}; rtnb.prices.add(model, price) adds one."
        )
    bill = _Bill(model, price)
    if "seconds" in usage and usage.get("type") != "tokens":
        bill.put("minute", _amount(usage["seconds"]), 60.0)
        return bill.sum()
    details = _object(usage.get("input_token_details"))
    given = _split(usage.get("input_tokens"), details, _INPUT, "input")
    cached = _split(
        details.get("cached_tokens") or 0,  # a service without a cache says nothing of it
        _object(details.get("cached_tokens_details")),
        [kind for kind in _INPUT if given[kind]],
        "cached",
        all_of=given,
    )
    output = _object(usage.get("output_token_details"))
    made = _split(usage.get("output_tokens"), output, _OUTPUT, "output")
    for kind in _INPUT:
        if cached.get(kind, 0) > given[kind]:
            raise _UnpricedError(f"More {kind} tokens are said to be cached than were given.")
        bill.put(f"{kind}_in", given[kind] - cached.get(kind, 0), _MILLION)
        bill.put(f"{kind}_cached", cached.get(kind, 0), _MILLION)
    for kind in _OUTPUT:
        bill.put(f"{kind}_out", made[kind], _MILLION)
    return bill.sum()


def _split(
    whole: Any,
    details: Mapping[str, Any],
    kinds: Iterable[str],
    what: str,
    *,
    all_of: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, float]:
    """Return the tokens of each kind; what is left out is settled by the whole, or not at all."""
    said = {k: details.get(f"{k}_tokens") for k in kinds}
    known = {k: _amount(count) for k, count in said.items() if count is not None}
    missing = [k for k in said if k not in known]
    if whole is None:  # only images may be left out: a service that has none says nothing of them
        if not known or set(missing) - {"image"}:
            raise _UnpricedError(f"The service did not count its {what} tokens by kind.")
        return known | dict.fromkeys(missing, 0.0)
    left = _amount(whole) - math.fsum(known.values())
    if left < 0 or (left and not missing):
        raise _UnpricedError(f"The counts of {what} tokens do not add up.")
    if not left or len(missing) == 1:
        return known | dict.fromkeys(missing, left)
    if all_of and left == math.fsum(all_of[k] for k in missing):  # all of them
        return known | {k: all_of[k] for k in missing}
    raise _UnpricedError(f"The service did not count its {what} tokens by kind.")


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _amount(value: Any) -> float:
    if not _is_amount(value):
        raise _UnpricedError("A count in the usage is no number.")
    return float(value)
