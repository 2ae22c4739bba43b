"""Reading packets.csv: every sound row once, while it grows, after sudden deaths, and from of old."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from rtnb import packets as packets_module
from rtnb.packets import PacketFile, Packets, read_packets
from rtnb.runaudio import RunAudio
from rtnb.runfiles import PACKET_FIELDS, RunWriter

OLD_FIELDS = "kind,sequence,timestamp,time,size,position"
SENT = "sent,7,1000,0.5,,960,"
RECEIVED = "received,65535,4294967295,0.510001,84,648,"
LOST = "lost,0,,,1920,1608,fec+plc"


def write(folder: Path, *rows: str, fields: str = PACKET_FIELDS, end: str = "\n") -> Path:
    path = folder / "packets.csv"
    path.write_bytes("".join(row + end for row in (fields, *rows)).encode())
    return path


def read(folder: Path, *rows: str) -> Packets:
    write(folder, *rows)
    return read_packets(folder)


def test_rows_are_arrays(tmp_path: Path) -> None:
    """Each column has its values and its type; what a row has not is -1, NaN or empty."""
    packets = read(tmp_path, SENT, RECEIVED, LOST)
    assert packets.kind.tolist() == ["sent", "received", "lost"]
    assert packets.sequence.tolist() == [7, 65535, 0]
    assert packets.timestamp.tolist() == [1000, 4294967295, -1]
    assert packets.time[:2].tolist() == [0.5, 0.510001]
    assert np.isnan(packets.time[2])
    assert packets.size.tolist() == [-1, 84, 1920]
    assert packets.position.tolist() == [960, 648, 1608]
    assert packets.concealed.tolist() == ["", "", "fec+plc"]
    assert {packets.sequence.dtype, packets.position.dtype} == {np.dtype(np.int64)}


def test_what_a_run_wrote_is_read(tmp_path: Path) -> None:
    """Rows come back as the writer was given them, whether or not they end with the last column."""
    writer = RunWriter(tmp_path, sample_rate=48_000)
    writer.packets([("sent", 1, 5, 0.1, None, 960), ("lost", 2, None, None, 960, -3, "plc")])
    writer.close()
    packets = read_packets(tmp_path)
    assert packets.position.tolist() == [960, -3]
    assert packets.concealed.tolist() == ["", "plc"]


def test_a_run_of_old_has_no_last_column(tmp_path: Path) -> None:
    """Rows of six fields are read, and nothing in them was concealed."""
    write(tmp_path, "received,1,960,0.5,80,0", "lost,2,,,960,960", fields=OLD_FIELDS)
    packets = read_packets(tmp_path)
    assert packets.kind.tolist() == ["received", "lost"]
    assert packets.concealed.tolist() == ["", ""]


def test_no_file_is_no_rows(tmp_path: Path) -> None:
    """A run that has no packets.csv has arrays without elements."""
    packets = read_packets(tmp_path)
    assert (len(packets), len(packets.place)) == (0, 0)


def test_kinds_of_a_later_version_are_kept(tmp_path: Path) -> None:
    """A kind that nobody knows yet is a row like others."""
    assert read(tmp_path, "foreign,1,2,0.5,3,4,", SENT).kind.tolist() == ["foreign", "sent"]


@pytest.mark.parametrize(
    "damaged",
    [
        *("received,12,30received,13,960,0.5,80,960,", "received,1,2", "x" * 5_000, ",,,,,,"),
        *("received,1,2,0.5.1,3,4,", "received,1,2,5-,3,4,", "received,--1,2,0.5,3,4,"),
        *("received,1,2,nan,3,4,", "received,1,2,1e400,3,4,", "received,9999999999,2,0.5,3,4,"),
        *(
            "received," + "1" * 19 + ",2,0.5,3,4,",
            "received,1.5,2,0.5,3,4,",
            "received,-,2,0.5,3,4,",
            "late,1,2,999999999999999999,80,,",
            "received,1,2,0.5,80,99999999999999999,",
        ),
        *("\x00\x00,1,2,0.5,3,4,", "receivéd,1,2,0.5,3,4,", "sent,1,2,,,,", "", "a b,1,2,3,4,5,"),
    ],
)
def test_a_damaged_row_is_left_out(damaged: str, tmp_path: Path) -> None:
    """What a sudden death or a bad disk left is skipped; the rows around it are read."""
    packets = read(tmp_path, SENT, damaged, RECEIVED)
    assert packets.kind.tolist() == ["sent", "received"]


@pytest.mark.parametrize("text", ["5e-05", "0.00005", "-0.00005", "3600.123456", "12"])
def test_times_are_what_python_reads(text: str, tmp_path: Path) -> None:
    """A time is to the last bit the number that was written."""
    assert read(tmp_path, f"sent,1,2,{text},,0,").time.tolist() == [float(text)]


def test_a_row_without_a_place_has_that_of_its_time(tmp_path: Path) -> None:
    """A packet that was placed nowhere belongs where it came."""
    assert read(tmp_path, "late,1,2,0.5,80,,").position.tolist() == [24_000]


def test_lines_may_end_as_on_windows(tmp_path: Path) -> None:
    """A file that was saved by another program is read."""
    write(tmp_path, SENT, LOST, end="\r\n")
    assert read_packets(tmp_path).concealed.tolist() == ["", "fec+plc"]


def test_a_growing_file_is_read_once(tmp_path: Path) -> None:
    """New rows are added to those that are known; a last one that is cut waits for its end."""
    path = write(tmp_path, SENT)
    file = PacketFile(path)
    first = file.packets()
    assert file.packets() is first
    with path.open("a") as stream:
        stream.write(RECEIVED[:12])
        stream.flush()
        assert len(file.packets()) == 1
        stream.write(RECEIVED[12:] + "\n" + LOST + "\n")
    assert file.packets().kind.tolist() == ["sent", "received", "lost"]
    assert first.kind.tolist() == ["sent"]


@pytest.mark.parametrize("block", [1, 40, 100])
def test_blocks_cut_no_row(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However a file is cut into blocks, each row is read once, and so is what is added to it."""
    monkeypatch.setattr(packets_module, "_AT_ONCE", block)
    path = write(tmp_path, SENT, RECEIVED, LOST)
    file = PacketFile(path)
    assert len(file.packets()) == 3
    with path.open("a") as stream:
        stream.write(SENT + "\n" + RECEIVED + "\n")
    assert file.packets().kind.tolist() == ["sent", "received", "lost", "sent", "received"]


def test_where_nothing_was_lost_there_is_no_loss(tmp_path: Path) -> None:
    """What was sent is none, and neither is what was heard."""
    assert PacketFile(write(tmp_path, SENT, RECEIVED)).losses().shape == (0, 2)


def test_a_shrunk_file_is_another_one(tmp_path: Path) -> None:
    """Rows of a file that was replaced are forgotten."""
    file = PacketFile(write(tmp_path, SENT, RECEIVED, LOST))
    assert len(file.packets()) == 3
    write(tmp_path, LOST)
    assert file.packets().kind.tolist() == ["lost"]
    assert file.losses().tolist() == [[1608, 3528]]


def test_rows_are_chosen_by_time_and_kind(tmp_path: Path) -> None:
    """`between` goes by the place in the recording, and its end is not part of it."""
    rows = [f"received,{n},{n * 960},{n * 0.02 + 0.05},80,{n * 960}," for n in range(10)]
    packets = read(tmp_path, *rows, SENT)
    assert packets.between(0.04, 0.08).sequence.tolist() == [2, 3]
    assert packets.of("sent", "lost").sequence.tolist() == [7]


def test_gaps_are_lost_rows(tmp_path: Path) -> None:
    """A clip's gaps come from the same reader, concealed or not."""
    writer = RunWriter(tmp_path, sample_rate=48_000)
    writer.audio(np.zeros((48_000, 2), np.int16))
    writer.packets([("lost", 2, None, None, 960, 4800, "fec"), ("lost", 9, None, None, 0, 9600)])
    writer.close()
    assert RunAudio(tmp_path).gaps() == [(0.1, pytest.approx(0.12))]


def test_an_hour_is_read_soon(tmp_path: Path) -> None:
    """360,000 rows take far less than 2 s, and 34 bytes each to keep."""
    rows = (
        f"sent,{n % 65536},{n * 960},{n * 0.02:.6f},,{n * 960},\n"
        f"received,{n % 65536},{n * 960},{n * 0.02 + 0.01:.6f},84,{n * 960 - 312},\n"
        for n in range(180_000)
    )
    (tmp_path / "packets.csv").write_text(PACKET_FIELDS + "\n" + "".join(rows))
    file = PacketFile(tmp_path / "packets.csv")
    began = time.process_time()
    packets = file.packets()
    assert time.process_time() - began < 2
    assert len(packets) == 360_000
    assert packets.sequence[-1] == 179_999 % 65536
    assert file._rows.nbytes < 20e6
