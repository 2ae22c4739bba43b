"""The floors of DESIGN.md section 3: every import goes down, and each module is in the table."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

import rtnb

ROOT: Final = Path(rtnb.__file__).parent
LONGEST: Final = 430  # lines of a module

FLOORS: Final = {
    0: "errors _plain _nested _html clipview _masking messages _process _bundled _notebook",
    1: (
        "audio _audiofile events eventrows eventtext eventview eventwindow measure meters pagecontext "
        "packets playout prices quality sdp runfiles runaudio frames traffic voiceactivity voicehold "
        "voicetake voiceupload"
    ),
    2: (
        "causes diagnosing dialects explaining latencies turnstate turnover inputbook requestbook "
        "responsebook tools toolruns conversation turns turntable turntaking turntimes turnview "
        "turnlist sessionview progress liveline recorded runs plots plotting plotting.canvas "
        "plotting.lanes plotting.lettering plotting.network plotting.sound plotting.spans "
        "plotting.spectrogram plotting.timeline plotting.waterfall "
        "prompts configuration shapes effects symptoms unanswered utterances verdicts"
    ),
    3: "_http endpoints signaling httperrors callsetup engine tokens",
    4: "limits outbox livecall livesound session registry turnfiles connecting",
    5: (
        "batch followed forwarding inspector microphone panel panel.calls panel.console "
        "panel.controls panel.form panel.parts panel.picker panel.record panel.state panel.turnboxes "
        "panel.views panel.voice panel.work "
        "serve speaker together tokenguard tokenpage tokenroutes voicepage"
    ),
    6: "__init__ cli cliserve testing",
}
MEDIA: Final = (
    "media media.__main__ media.aiortc_hooks media.call media.capture media.concealing "
    "media.fallback media.host media.jitterbuffer media.libopus media.listening media.livefeed "
    "media.opus media.recorder media.recording media.reorder media.timeline media.tracks media.transit"
)
PEER: Final = (
    "peer peer.__main__ peer.answers peer.audible peer.betawire peer.bodies peer.call "
    "peer.channel peer.checks peer.control peer.conversation peer.disturbed peer.faults "
    "peer.fingerprint peer.guard peer.handle peer.heard peer.hearing peer.httperrors "
    "peer.impairment peer.incoming peer.inputbuffer peer.itemevents peer.items peer.journal "
    "peer.keys peer.link peer.listening peer.minting peer.modes peer.mouth peer.offers "
    "peer.outgoing peer.outputitems peer.outputs peer.peerlog peer.recordedparts peer.recordedrun "
    "peer.recordedsound peer.refusals peer.remote peer.repertoire peer.replayeditems "
    "peer.replayedreplies peer.replayedresponse peer.replaying peer.replayqueue peer.reply "
    "peer.replytrack peer.responding peer.responses peer.script peer.server peer.serving "
    "peer.sessionchecks peer.settings peer.sideband peer.signaling peer.speaking peer.speech "
    "peer.timbre peer.toolcalls peer.transcription peer.usage peer.userturn peer.uservoice "
    "peer.vad peer.voices peer.wire peer.wireaudio"
)
NOT_FOR_MEDIA: Final = {"plots", "tools", "conversation"}
FOR_PEER: Final = {"media.aiortc_hooks", "media.opus", "media.tracks"}

# (importing function, imported module) -> why it may look up
LOCAL: Final = {
    ("events.EventLog.plot", "plots"): "so does a log of events",
    ("audio.Clip.plot", "plots"): "a clip draws itself; matplotlib loads when it is asked to",
    ("engine.ThreadEngine.__init__", "media.host"): "the host of the media process, in a thread",
    ("peer.handle.Peer.endpoint", "signaling"): "the handle says how to call its peer",
}
# (importing module, imported module) -> why it is more than DESIGN.md section 3 grants
ACROSS: Final = {
    ("serve", "peer.guard"): "the connections of both HTTP servers are bounded alike",
    ("peer.hearing", "media.capture"): "`Reorder` and `unwrap`: both ends order packets alike",
}
# only these may hold the handle of the peer's process
HANDLE: Final = {"__init__", "cli", "cliserve", "panel.console", "serve", "testing"}
PRIVATE: Final = re.compile(r"^_RTC\w+__|^_handle_rtp_packet$|^_send_rtp$")


@dataclass(frozen=True)
class Import:
    """One import statement: who, what, in which function, and whether only for types."""

    importer: str
    target: str
    function: str
    types_only: bool

    def __str__(self) -> str:
        return f"{self.importer} -> {self.target} {self.function}".strip()


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[-1] == "__init__" and len(parts) > 1:
        parts = parts[:-1]
    return ".".join(parts)


MODULES: Final = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


@functools.cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def floor_of(module: str) -> int | str:
    for floor, names in FLOORS.items():
        if module in names.split():
            return floor
    return "media" if module in MEDIA.split() else "peer" if module in PEER.split() else "none"


def targets(node: ast.AST) -> Iterator[str]:
    """Yield the full names that an import statement asks for."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        assert not node.level, "relative imports hide the floor"
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if inner.removeprefix("rtnb.") in MODULES else str(node.module)


def walk(node: ast.AST, path: str = "", types: bool = False) -> Iterator[tuple[ast.AST, str, bool]]:
    """Yield every node below with the function it stands in and whether it is for types only."""
    for child in ast.iter_child_nodes(node):
        inner, only = path, types
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{path}.{child.name}"
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            only = True
        yield child, inner, only
        yield from walk(child, inner, only)


def imports(module: str) -> list[Import]:
    return [
        Import(module, target, (module + path) if path else "", types)
        for node, path, types in walk(tree_of(module))
        for target in targets(node)
    ]


def own_imports() -> list[Import]:
    """Return the imports of rtnb from rtnb that run, those listed in LOCAL left out."""
    found = []
    for module in MODULES:
        for one in imports(module):
            if one.target.partition(".")[0] != "rtnb" or one.types_only:
                continue
            target = one.target.removeprefix("rtnb").lstrip(".") or "__init__"
            if (one.function, target) not in LOCAL:
                found.append(Import(module, target, one.function, False))
    return found


def allowed(one: Import) -> bool:
    source, target = floor_of(one.importer), floor_of(one.target)
    if (one.importer, one.target) in ACROSS:
        return True
    if one.target == "peer.handle" and source != "peer":
        return one.importer in HANDLE
    if source == "peer":
        return target in (0, 1, 2, "peer") or one.target in FOR_PEER | {"media"}
    if source == "media":
        return target == "media" or (target in (0, 1, 2) and one.target not in NOT_FOR_MEDIA)
    return isinstance(source, int) and isinstance(target, int) and target <= source


def test_every_module_has_its_floor() -> None:
    """A module that is in no table, or a table entry without a module, fails."""
    listed = [*" ".join([*FLOORS.values(), MEDIA, PEER]).split()]
    assert sorted(listed) == sorted(MODULES)


def test_every_import_goes_down() -> None:
    """No module imports from a floor above it, or from a wing it must not know."""
    assert [str(one) for one in own_imports() if not allowed(one)] == []


def test_no_import_goes_in_a_circle() -> None:
    """Modules of one floor import each other without cycles."""
    graph: dict[str, set[str]] = {}
    for one in own_imports():
        if one.target != "__init__" or one.importer not in ("cli", "cliserve"):  # it is lazy
            graph.setdefault(one.importer, set()).add(one.target)
    graphlib.TopologicalSorter(graph).prepare()


def test_every_exception_is_still_needed() -> None:
    """Each import that is allowed by name is in the code, under that very name."""
    found = {
        (one.function, one.target.removeprefix("rtnb."))
        for module in MODULES
        for one in imports(module)
    }
    assert set(LOCAL) - found == set()
    assert set(ACROSS) - {(one.importer, one.target) for one in own_imports()} == set()


@pytest.mark.parametrize(
    "bad",
    [
        Import("audio", "plots", "", False),
        Import("session", "cli", "", False),
        Import("session", "media.host", "", False),
        Import("session", "peer.handle", "", False),
        Import("media.call", "signaling", "", False),
        Import("media.call", "conversation", "", False),
        Import("peer.call", "media.call", "", False),
        Import("peer.call", "session", "", False),
    ],
    ids=str,
)
def test_the_rule_refuses(bad: Import) -> None:
    """The rule itself can fail: these imports are refused."""
    assert not allowed(bad)


def test_no_module_is_named_like_a_public_function() -> None:
    """`rtnb.replay` can only mean the function, whatever was imported before."""
    functions = {name for name in rtnb.__all__ if name.islower() and name.isidentifier()}
    assert {module.rpartition(".")[2] for module in MODULES} & functions == set()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is(module: str) -> None:
    """A module opens with a docstring whose first paragraph is a sentence."""
    doc = ast.get_docstring(tree_of(module)) or ""
    first = doc.partition("\n\n")[0].strip()
    assert re.fullmatch(r"[`\w].*[.:]", first, re.DOTALL), first


@pytest.mark.parametrize("module", [m for m in MODULES if not m.endswith("__main__")])
def test_a_module_lists_its_public_names(module: str) -> None:
    """A module has `__all__`, and what it lists as literals is defined there."""
    assigned: dict[str, ast.expr | None] = {}
    for node in tree_of(module).body:
        if isinstance(node, ast.Assign):
            assigned |= {ast.unparse(target): node.value for target in node.targets}
        elif isinstance(node, ast.AnnAssign):
            assigned[ast.unparse(node.target)] = node.value
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            assigned[node.name] = None
        elif isinstance(node, ast.ImportFrom):  # a facade
            assigned |= {alias.asname or alias.name: None for alias in node.names}
    listed = assigned["__all__"]
    if isinstance(listed, ast.List):
        assert {ast.literal_eval(name) for name in listed.elts} - set(assigned) == set()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_stays_small(module: str) -> None:
    """No module has more than 430 lines."""
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_requests_is_used_for_signalling_only() -> None:
    """Only `_http` imports requests; the other two name its types."""
    users = {m for m in MODULES for one in imports(m) if one.target.split(".")[0] == "requests"}
    assert users <= {"_http", "signaling", "httperrors"}
    assert "_http" in users


def names_in(module: str) -> set[str]:
    """Return the names, attributes and one-word strings of a module."""
    found = {getattr(n, "id", getattr(n, "attr", "")) for n in ast.walk(tree_of(module))}
    values = (n.value for n in ast.walk(tree_of(module)) if isinstance(n, ast.Constant))
    return found | {value for value in values if isinstance(value, str)}


def test_private_parts_of_aiortc_are_named_in_one_module() -> None:
    """Only `media.aiortc_hooks` reaches into aiortc's objects."""
    assert {m for m in MODULES if any(map(PRIVATE.search, names_in(m)))} == {"media.aiortc_hooks"}


def test_aioice_is_imported_in_one_module() -> None:
    """Only `media.aiortc_hooks` knows that there is an aioice."""
    users = {m for m in MODULES for one in imports(m) if one.target.split(".")[0] == "aioice"}
    assert users == {"media.aiortc_hooks"}
