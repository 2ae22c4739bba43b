"""The form that says where to call: what it makes of keys and addresses."""

from __future__ import annotations

from typing import Any

import pytest
from panel_parts import ELSEWHERE, KEY, state_of

import rtnb
from rtnb.errors import CallError, ConfigurationError, MissingKeyError
from rtnb.panel.form import Form

# --- the form -------------------------------------------------------------------------------------


def filled(choice: str, *, key: str | None = None, given: Any = None, **values: Any) -> Form:
    """Return a form with an endpoint chosen, and other fields filled in."""
    form = Form(given)
    form.endpoint.value = choice
    for name, value in values.items():
        getattr(form, name).value = value
    if key is not None:
        form.key._handle_custom_msg({"kind": "key", "value": key}, [])
    return form


def test_a_new_form_offers_the_peer() -> None:
    """With transcription, and the server's defaults otherwise; address and key are hidden."""
    form = Form()
    wanted = form.wanted()
    assert wanted.peer
    assert wanted.options == {
        "transcription": True, "model": None, "voice": None, "instructions": None,
    }  # fmt: skip
    assert (form.url.layout.visibility, form.key.layout.visibility) == ("hidden", "hidden")


@pytest.mark.parametrize(
    ("choice", "url", "key"),
    [
        ("peer", "hidden", "hidden"),
        ("openai", "hidden", "visible"),
        ("other", "visible", "visible"),
        ("given", "hidden", "hidden"),
    ],
)
def test_each_choice_shows_its_fields(choice: str, url: str, key: str) -> None:
    """What is not asked for is hidden."""
    form = filled(choice, given="http://127.0.0.1:9/v1")
    assert (form.url.layout.visibility, form.key.layout.visibility) == (url, key)


def test_what_was_filled_in_is_wanted() -> None:
    """Without blanks around it; an empty field is the server's default."""
    form = filled("peer", model=" m-1 ", voice="ash", instructions=" Be brief.\n")
    form.transcription.value = False
    options = form.wanted().options
    assert options == {
        "transcription": None, "model": "m-1", "voice": "ash", "instructions": "Be brief.",
    }  # fmt: skip


def test_openai_gets_the_key_that_was_typed() -> None:
    """It leaves the form, and is not in the repr of what is wanted."""
    form = filled("openai", key=KEY)
    wanted = form.wanted()
    assert (wanted.peer, wanted.options["endpoint"], wanted.options["api_key"]) == (
        False,
        None,
        KEY,
    )
    assert KEY not in repr(wanted)
    assert form.wanted().options["api_key"] is None


def test_a_given_endpoint_is_chosen_first(peer: rtnb.Peer) -> None:
    """It is passed on as it is, also after another choice."""
    form = Form(peer)
    assert form.wanted().options["endpoint"] is peer
    form.choose_peer()
    assert form.wanted().peer
    form.endpoint.value = "given"
    assert (form.wanted().peer, form.wanted().options["endpoint"]) == (False, peer)


def test_another_server_is_an_endpoint_with_its_key() -> None:
    """The address and the key that were typed, and nothing else."""
    endpoint = filled("other", key=KEY, url=f" {ELSEWHERE}/ ").wanted().options["endpoint"]
    assert endpoint.base_url == ELSEWHERE
    assert endpoint.key.reveal() == KEY


def test_a_server_on_this_machine_needs_no_key() -> None:
    """But takes the one that was typed."""
    place = "http://127.0.0.1:9/v1"
    keys = [
        filled("other", key=key, url=place).wanted().options["endpoint"].key.reveal()
        for key in (None, KEY)
    ]
    assert keys == [rtnb.Endpoint.for_peer(place).key.reveal(), KEY]


def test_the_environments_key_is_not_for_an_address_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base URL handed to the panel needs a key that is typed."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    form = Form("https://example.org/v1")
    assert form.key.layout.visibility == "visible"
    with pytest.raises(ConfigurationError, match="needs a key"):
        form.wanted()


@pytest.mark.parametrize("url", [ELSEWHERE, "http://127.0.0.1:9/v1", "http://localhost:9/v1"])
def test_the_environments_key_is_not_for_another_server(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is OpenAI's: elsewhere a key is typed, or the call is refused."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    form = filled("other", url=url)
    if url == ELSEWHERE:
        with pytest.raises(ConfigurationError, match="This server needs a key; type it"):
            form.wanted()
    else:
        assert KEY not in form.wanted().options["endpoint"].key.reveal()


@pytest.mark.parametrize(
    "url",
    [
        "", "  ", "example.org", "ftp://example.org", "https://", "://", "https://example.org:x/v1",
        "https://user:secret-word@example.org/v1", "https://example.org/v1?key=secret-word",
        "http://example.org/v1", "javascript:alert(1)",
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", [None, KEY])
def test_a_wrong_address_is_told(url: str, key: str | None) -> None:
    """In one sentence that shows no secret, and the key is forgotten all the same."""
    form = filled("other", key=key, url=url)
    with pytest.raises(ConfigurationError) as told:
        form.wanted()
    assert KEY not in str(told.value)
    assert "secret-word" not in str(told.value)
    assert not form.key.held


@pytest.mark.parametrize("then", ["peer", "other"])
def test_a_key_typed_for_one_server_is_not_for_another(then: str) -> None:
    """Choosing another endpoint forgets it at once."""
    form = filled("openai", key=KEY)
    form.endpoint.value = then
    assert not form.key.held
    form.url.value = "http://127.0.0.1:9/v1"
    assert KEY not in str(form.wanted().options)
    form.endpoint.value = "openai"
    assert form.wanted().options["api_key"] is None


def test_a_missing_key_is_advised_on() -> None:
    """What to do, in this form; other errors say it themselves."""
    advice = Form.advice(MissingKeyError("No key."))
    assert "Type one" in advice and "OPENAI_API_KEY" in advice and "peer" in advice
    assert Form.advice(CallError("Too late; try again.")) == "Too late; try again."


def test_a_form_is_disabled_as_a_whole() -> None:
    """While a call is there, nothing of it can be changed; afterwards all of it."""
    form = Form()
    texts = (form.url, form.model, form.voice, form.instructions)
    parts = (form.endpoint, form.key, form.transcription, *texts)
    form.enable(False)
    assert all(part.disabled for part in parts)
    form.enable(True)
    assert not any(part.disabled for part in parts)


def test_a_filled_form_holds_no_key_in_its_state() -> None:
    """Before and after it is read."""
    form = filled("openai", key=KEY)
    parts = (form.endpoint, form.url, form.key, form.model, form.voice, form.instructions)
    assert KEY not in state_of(*parts)
    form.wanted()
    assert KEY not in state_of(*parts)
