"""Secrets leave text before anybody sees it."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import pytest

from rtnb import _masking
from rtnb._masking import MASK, Secret, mask

STANDARD = "sk-" + "proj-A1b2_C3d4"
EPHEMERAL = "ek_" + "68af296e8e408191a1120ab6383263c2"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (STANDARD, MASK),
        (EPHEMERAL, MASK),
        (
            f"Incorrect API key provided: {STANDARD}. Find",
            f"Incorrect API key provided: {MASK} Find",
        ),
        (f'{{"value":"{EPHEMERAL}"}}', f'{{"value":"{MASK}"}}'),
        (f"({EPHEMERAL},{STANDARD})", f"({MASK},{MASK})"),
        ("Authorization: Bearer abc.def-123", f"Authorization: Bearer {MASK}"),
        ("authorization: bearer abcdefg", f"authorization: bearer {MASK}"),
        ("a=ice-pwd:Zm9v/+bar\r\na=mid:0", f"a=ice-pwd:{MASK}\r\na=mid:0"),
        (r'"a=ice-pwd:Zm9v\r\na=mid:0"', rf'"a=ice-pwd:{MASK}\r\na=mid:0"'),
        ('{"authorization":"Basic x y"}', f'{{"authorization":"{MASK}"}}'),
        ('{"Authorization": "Basic x y"}', f'{{"Authorization": "{MASK}"}}'),
        ("sk-abcd••••wxyz", MASK),
        ('{"sdp":"a=ice-pwd:Zm9v"}', f'{{"sdp":"a=ice-pwd:{MASK}"}}'),
        ('{"authorization" : "Basic x"}', f'{{"authorization" : "{MASK}"}}'),
        (r'{"authorization":"a\"b\\","c":1}', f'{{"authorization":"{MASK}","c":1}}'),
        ('{"client_secret":{"value":"abc"}}', f'{{"client_secret":{{"value":"{MASK}"}}}}'),
        (
            '{"client_secret": {"expires_at": 5, "value": "abc"}}',
            f'{{"client_secret": {{"expires_at": 5, "value": "{MASK}"}}}}',
        ),
        ('{"client_secret":"abc"}', f'{{"client_secret":"{MASK}"}}'),
    ],
)
def test_a_secret_is_masked(text: str, shown: str) -> None:
    """Keys, tokens and ICE passwords, wherever in a text they stand."""
    assert mask(text) == shown


@pytest.mark.parametrize("before", ["", "x", " ", "\\n", '{"a":"b","c":"', "Basic ", "ſ", "İ"])
@pytest.mark.parametrize("after", ["", '"}', "\r\n", " and more"])
def test_no_pattern_matches_what_is_passed_over(before: str, after: str) -> None:
    """A text that is taken to hold no secret at first sight holds none for any pattern either."""
    secrets = [STANDARD, EPHEMERAL, "Bearer abcdefgh", "bearer abcdefgh", "a=ice-pwd:abcdef"]
    names = ["authorization", "Authorization", "AUTHORIZATION", "authorızation", "authorİzation"]
    secrets += [f'"{name}":{space}"Basic x' for name in names for space in ("", " ")]
    secrets += ['"client_secret":"x', '"client_secret": {"value":"x']
    for secret in secrets:
        text = f"{before}{secret}{after}"
        found = any(pattern.search(text) for pattern in _masking._PATTERNS)
        assert (mask(text) != text) is found


@pytest.mark.parametrize("escape", ["\n", "\t", "\r", '"', "\\"])
def test_a_secret_behind_an_escape_is_masked(escape: str) -> None:
    """In JSON text a newline is a backslash and an n; the key after it is still one."""
    text = json.dumps({"instructions": f"key:{escape}{EPHEMERAL}{escape}{STANDARD}"})
    masked = mask(text)
    assert EPHEMERAL not in masked
    assert STANDARD not in masked
    assert json.loads(masked)["instructions"].count(MASK) == 2


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r'"ek\u005fabcdefgh"', MASK),
        (r'"\u0065\u006B_abcdefgh"', MASK),
        (r'"Bearer abcdefgh\/ijkl"', f"Bearer {MASK}"),
        (r'"a=ice-pwd:Zm9v\/bar\r\n\u0022"', f'a=ice-pwd:{MASK}\r\n"'),
        (r'"\\u005f \u0022\u005c\u000a ek\u005Fabcdefgh"', f'\\u005f "\\\n {MASK}'),
    ],
)
def test_a_secret_with_escapes_in_it_is_masked(text: str, read: str) -> None:
    """JSON may write any character as an escape; what is read says the same but for the secret."""
    assert json.loads(mask(text)) == read


def test_escapes_without_a_secret_stay() -> None:
    """The text is kept as it came."""
    text = r'{"a":"\u0041\/b\u00e4"}'
    assert mask(text) == text


def test_a_known_secret_is_found_as_json_writes_it() -> None:
    """With its quotes and backslashes escaped."""
    Secret('wednesday"horse\\battery')
    assert mask(json.dumps('a wednesday"horse\\battery')) == f'"a {MASK}"'


@pytest.mark.parametrize(
    "text",
    ["a task-force in week_3", "risk-averse", "sk-", "ek_", "bearer of news", "a=ice-ufrag:x"],
)
def test_ordinary_text_stays(text: str) -> None:
    """What only looks a little like a key is not touched."""
    assert mask(text) == text


def test_masking_twice_changes_nothing_more() -> None:
    """What is masked stays as it is."""
    once = mask(f"{STANDARD} Bearer {EPHEMERAL}")
    assert mask(once) == once


def test_any_text_given_as_a_secret_is_masked_from_then_on() -> None:
    """Keys of other services have no shape that could be known."""
    text = "the server said: tuesday-horse-battery!"
    assert mask(text) == text
    Secret("tuesday-horse-battery")
    assert mask(text) == f"the server said: {MASK}!"


def test_a_short_secret_does_not_blank_out_prose() -> None:
    """Fewer than eight characters are not looked for in other text."""
    Secret("peer")
    assert mask("the peer") == "the peer"


def test_a_secret_shows_itself_nowhere() -> None:
    """Not in str, repr, a format, a container, or a traceback."""
    secret = Secret(STANDARD)
    shown = f"{secret} {secret!r} {[secret]} {secret:}"
    try:
        raise ValueError(secret)
    except ValueError:
        shown += traceback.format_exc()
    assert STANDARD not in shown
    assert MASK in shown
    assert secret.reveal() == STANDARD


@pytest.mark.parametrize("how", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_is_not_written_anywhere(how: object) -> None:
    """It does not pickle, so it cannot end in a cache or a saved object."""
    with pytest.raises(TypeError, match="a Secret is not written anywhere"):
        how(Secret(STANDARD))  # type: ignore[operator]


def test_secrets_compare_by_value() -> None:
    """And with secrets only."""
    assert Secret("a" * 9) == Secret("a" * 9)
    assert Secret("a" * 9) != Secret("b" * 9)
    assert Secret("a" * 9) != "a" * 9
    assert len({Secret("a" * 9), Secret("a" * 9)}) == 1
