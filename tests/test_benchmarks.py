"""The table of the benchmarks: its cells, its page, and what the benchmarks of capture reckon with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import __main__ as table  # noqa: E402
from benchmarks import _live_signal, _loss, live_voice  # noqa: E402
from benchmarks._table import cells, machine, markdown, put  # noqa: E402

RESULT = {"benchmark": "some", "rtnb_ms": 1.5, "baseline_ms": 3, "ratio": 0.5, "target": 0.6}


def test_a_row_has_the_figures_of_its_unit() -> None:
    """The unit is what follows ``rtnb_``; both figures and the spread are found by it."""
    row = cells({**RESULT, "met": True, "spread_ms": [0.25, None], "rtnb_other": 7})
    assert row == ["some", "ms", "1.5", "3", "0.5", "0.6", "yes", "0.25 / –"]


def test_a_row_without_a_baseline_has_holes() -> None:
    """What a result does not have is left empty."""
    row = cells({"benchmark": "some", "rtnb_samples": 0, "baseline_samples": None, "met": False})
    assert row == ["some", "samples", "0", "", "", "", "no", ""]


def test_the_notes_stand_below_the_table() -> None:
    """A table for a page has a line for each result, and then what they have to say."""
    lines = markdown([RESULT, {**RESULT, "note": "a word"}]).splitlines()
    assert [line.startswith("| some | ms | 1.5 |") for line in lines] == [
        *(False, False, True, True, False, False)
    ]
    assert lines[-1] == "- `some`: a word"


def test_the_page_has_places_for_the_table_and_the_machine(tmp_path: Path) -> None:
    """What is between the comments is replaced, any number of times, and nothing else."""
    page = tmp_path / "page.md"
    page.write_bytes((ROOT / "docs" / "performance.md").read_bytes())
    put(page, "machine", "one")
    once = page.read_text(encoding="utf-8")
    put(page, "table", "| a |")
    put(page, "table", "| b |")
    put(page, "machine", machine())
    text = page.read_text(encoding="utf-8")
    assert ("| a |" in text, "| b |" in text, machine() in text) == (False, True, True)
    assert text.split("## Method")[1] == once.split("## Method")[1]


def test_the_page_is_not_changed_for_some_of_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table that lacks rows does not replace one that has them all."""
    page, kept = tmp_path / "page.md", tmp_path / "kept.jsonl"
    text = "".join(f"<!-- {n} begins -->\n<!-- {n} ends -->\n" for n in ("table", "machine"))
    page.write_text(text, encoding="utf-8")
    kept.write_text(json.dumps({**RESULT, "measured": "There, then."}), encoding="utf-8")
    monkeypatch.setattr(table, "PAGE", page)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--read", str(kept), "--page"])
    assert (table.main(), page.read_text(encoding="utf-8")) == (1, text)
    assert "the page stays as it is" in capsys.readouterr().out
    monkeypatch.setattr(table, "scripts", lambda: ["some"])
    assert table.main() == 0
    assert "| some | ms |" in page.read_text(encoding="utf-8")
    assert "There, then." in page.read_text(encoding="utf-8")


def test_a_script_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What went wrong is told in a line, and the others still run."""
    monkeypatch.setattr(table, "run", lambda name: "it fell over" if name == "a" else RESULT)
    assert table.run_all(["a", "b"], None) == [RESULT]


def test_there_is_no_such_benchmark() -> None:
    """A script that cannot be run says why."""
    assert "no_such" in str(table.run("no_such"))


def test_a_shift_is_found_in_samples() -> None:
    """A recording that lacks 4,800 samples is 4,800 samples early from there on."""
    reference = np.random.default_rng(1).integers(-9000, 9000, 60 * 960).astype(np.int16)
    heard = np.concatenate([reference[:19_200], reference[24_000:]])
    assert _loss.worst_shift(reference, reference, {20}) == 0
    assert _loss.worst_shift(reference, heard, {20}) == 4800


def test_only_frames_in_their_place_are_kept() -> None:
    """A frame that came early is not kept, nor one that is left out on purpose."""
    reference = np.random.default_rng(1).integers(-9000, 9000, 10 * 960).astype(np.int16)
    heard = np.concatenate([reference[: 4 * 960], reference[5 * 960 :]])
    assert _loss.kept(reference, heard, but=[1]).tolist() == [True, False, True, True, *[False] * 6]


def test_gaps_at_no_borders_of_packets_are_no_list_of_packets() -> None:
    """Stretches become packets' numbers; one that begins within a packet is refused."""
    assert _loss.lost_in([(0.02, 0.06), (0.1, 0.12)]) == (1, 2, 5)
    assert _loss.lost_in([(0.021, 0.041)]) == (-1,)


def test_bursts_are_found_again_later() -> None:
    """Each burst of a ruler is told from its neighbours; what is lost is missing."""
    clip = _live_signal.ruler(8.0)
    there = _live_signal.bursts(clip.samples)
    assert len(there) == 32
    late = np.concatenate([np.zeros(round(0.73 * 48_000), np.float32), clip.samples])
    late[round(4.0 * 48_000) : round(5.0 * 48_000)] = 0.0
    found = _live_signal.delays(there, _live_signal.bursts(late))
    assert len(found) == 28
    assert [round(by, 2) for _, by in found] == [0.73] * 28


def test_a_way_tells_what_became_of_its_bursts() -> None:
    """Delays are those of what set out within a stretch; what did not arrive is lost."""
    sources = [_live_signal.Burst(0.25 * n, n % 20) for n in range(40)]
    sinks = [_live_signal.Burst(b.time + 0.05 + 0.01 * (b.code == 3), b.code) for b in sources[:30]]
    way = live_voice.Way(sources, sinks, lambda begin, end: np.zeros(round((end - begin) * 48_000)))
    assert way.through(0.0, 5.0) == {"median_ms": 50.0, "worst_ms": 60.0, "bursts": 20, "lost": 0}
    assert way.through(5.0, 10.0)["lost"] == 10
    assert way.through(8.0, 9.0)["median_ms"] is None
    assert way.silence(1.0, 2.0) == 1.0
