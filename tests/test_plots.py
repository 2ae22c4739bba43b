"""Drawing a clip: on the Axes that were given, bounded, honest, and never shown by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from plotted import boxes, drawing, extent, marks, plt, points, said

from rtnb import Clip, errors, plots

EACH = pytest.mark.parametrize("draw", [plots.waveform, plots.spectrogram, plots.level])
Draw = Callable[..., Axes]


@pytest.fixture
def ax() -> Iterator[Axes]:
    """Axes of a fresh figure; showing anything fails the test."""
    with drawing() as axes:
        yield axes


def noise(seconds: float, level: float = 0.1) -> Clip:
    chance = np.random.default_rng(1)
    return Clip(level * chance.uniform(-1, 1, round(seconds * 48_000)), 48_000)


def image(axes: Axes) -> np.ndarray:
    """Return the levels of a spectrogram, lowest frequency first."""
    return np.asarray(axes.images[0].get_array())


# --- every plot of a clip --------------------------------------------------------------------------


@EACH
def test_a_clip_is_drawn_on_the_axes_given(draw: Draw, ax: Axes) -> None:
    """The Axes that were given are returned, with seconds on the x axis."""
    assert draw(noise(1.0), ax=ax) is ax
    assert ax.get_xlabel() == "time (s)"
    assert ax.figure.axes == [ax]


@EACH
def test_a_clip_is_drawn_on_the_current_axes(draw: Draw, ax: Axes) -> None:
    """Without Axes it goes where pyplot is."""
    assert draw(noise(0.5)) is ax


@EACH
def test_nothing_is_opened_when_axes_are_given(draw: Draw, ax: Axes) -> None:
    """pyplot's state is left alone."""
    before = plt.get_fignums()
    draw(noise(0.1), ax=ax)
    assert plt.get_fignums() == before


@EACH
@pytest.mark.parametrize(
    ("clip", "words"),
    [
        (Clip([], 48_000), "empty: no samples"),
        (Clip.silence(0.5), "silent: every sample is 0"),
        (Clip([0.5], 48_000), "one sample"),
        (Clip([0.0], 48_000), "one sample; silent: every sample is 0"),
        (Clip(np.full(7, -1.0), 48_000), "clipped: 7 samples at full scale"),
    ],
    ids=["empty", "silent", "one", "one zero", "clipped"],
)
def test_a_peculiar_clip_is_drawn_and_says_so(draw: Draw, clip: Clip, words: str, ax: Axes) -> None:
    """An empty, silent, one-sample or clipped clip works, with a note on it."""
    draw(clip, ax=ax)
    assert said(ax)[0].split("\n")[0] == words


@EACH
def test_a_usual_clip_has_no_note(draw: Draw, ax: Axes) -> None:
    """Nothing is said of a clip that has nothing special."""
    draw(noise(0.5), ax=ax)
    assert [text for text in said(ax) if "dashed" not in text] == []


@EACH
@pytest.mark.parametrize("count", [2, 3, 100])
def test_the_shortest_clips_are_drawn(draw: Draw, count: int, ax: Axes) -> None:
    """A clip of few samples can be drawn."""
    draw(Clip(np.full(count, 0.5), 48_000), ax=ax)
    ax.figure.canvas.draw()


@EACH
def test_gaps_are_hatched(draw: Draw, ax: Axes) -> None:
    """Lost spans are one hatched artist, where they are."""
    draw(Clip(np.full(1000, 0.1), 1000, gaps=[(0.1, 0.2), (0.5, 0.6)]), ax=ax, offset=1.0)
    assert np.array(marks(ax, "lost")) == pytest.approx(np.array([(1.1, 1.2), (1.5, 1.6)]))
    assert next(c.get_hatch() for c in ax.collections if c.get_label() == "_lost") == "////"


@EACH
def test_many_gaps_are_bounded(draw: Draw, ax: Axes) -> None:
    """A bad network does not make an artist a packet."""
    gaps = [(n * 0.0001, n * 0.0001 + 0.00005) for n in range(10_000)]
    draw(Clip(np.full(1000, 0.1), 1000, gaps=gaps), ax=ax)
    assert 0 < len(marks(ax, "lost")) <= 2_400


@EACH
@pytest.mark.parametrize("wrong", ["here", 3, "figure"])
def test_other_axes_are_refused(draw: Draw, wrong: Any, ax: Axes) -> None:
    """What is no Axes is named in the sentence."""
    given = ax.figure if wrong == "figure" else wrong
    with pytest.raises(errors.ConfigurationError, match=f"not on an? {type(given).__name__};"):
        draw(noise(0.1), ax=given)


@EACH
def test_bare_samples_are_refused(draw: Draw, ax: Axes) -> None:
    """Samples without a rate are no clip."""
    with pytest.raises(errors.ConfigurationError, match="takes a Clip, not ndarray"):
        draw(np.zeros(10), ax=ax)


@EACH
def test_a_figure_of_its_own_is_large_and_opaque(draw: Draw) -> None:
    """Where there was no figure, the plot makes one that can be read on a dark page."""
    plt.close("all")
    with mpl.rc_context({"figure.facecolor": (1, 1, 1, 0)}):
        figure: Any = draw(noise(0.1)).figure
    assert figure.get_size_inches()[0] == 8
    assert figure.get_facecolor()[3] == 1
    plt.close("all")


def test_a_figure_that_was_sized_keeps_its_size() -> None:
    """Who made a figure has chosen its size."""
    plt.close("all")
    figure = plt.figure(figsize=(3, 2))
    plots.waveform(noise(0.1))
    assert tuple(figure.get_size_inches()) == (3, 2)
    plt.close("all")


# --- waveform --------------------------------------------------------------------------------------


def test_a_waveform_reaches_as_far_as_the_clip(ax: Axes) -> None:
    """Time runs to its last sample, height to its peaks."""
    assert Clip.tone(440, 1.5, level=-6.0).plot(ax=ax) is ax
    assert extent(ax) == pytest.approx((0.0, 1.5, -0.501, 0.501), abs=0.001)


def test_a_clip_is_drawn_where_it_is_told(ax: Axes) -> None:
    """`offset`, `center` and `scale` place it."""
    plots.waveform(Clip.tone(440, 1.0, level=0.0), ax=ax, offset=3.0, center=2.0, scale=0.5)
    assert extent(ax) == pytest.approx((3.0, 4.0, 1.5, 2.5), abs=0.001)


@pytest.mark.parametrize("value", [0.3, -0.3])
def test_silence_is_in_the_middle(value: float, ax: Axes) -> None:
    """A constant is seen to be one: the axis reaches as far below silence as above it."""
    plots.waveform(Clip(np.full(48_000, value), 48_000), ax=ax)
    low, high = ax.get_ylim()
    assert (high, low) == (pytest.approx(-low), pytest.approx(-0.33, abs=0.01))


@pytest.mark.parametrize("draw", [plots.waveform, plots.level])
@pytest.mark.parametrize("size", [(8.0, 2.6), (4.0, 1.6)], ids=str)
def test_a_note_hides_no_curve(draw: Draw, size: tuple[float, float]) -> None:
    """Above the loudest clip there is room for what is said of it, also on small axes."""
    with drawing(size) as axes:
        draw(Clip(np.ones(48_000), 48_000), ax=axes)
        (_, box), *_ = boxes(axes)
        top = 1.0 if draw is plots.waveform else 0.0
        assert box.y0 > axes.transData.transform((0.0, top))[1]


def test_a_long_clip_has_no_more_points(ax: Axes) -> None:
    """Ten minutes are drawn with as many points as ten seconds."""
    plots.waveform(noise(600.0), ax=ax)
    assert points(ax) <= 2 * 2_400 + 8
    assert extent(ax)[1] == 600.0


def test_no_peak_is_left_out(ax: Axes) -> None:
    """One loud sample in a minute is in the outline."""
    samples = np.zeros(60 * 48_000)
    samples[1_234_567] = -0.9
    plots.waveform(Clip(samples, 48_000), ax=ax)
    assert extent(ax)[2] == pytest.approx(-0.9)


def test_silence_is_a_flat_line(ax: Axes) -> None:
    """Digital silence is drawn at the centre."""
    plots.waveform(Clip.silence(1.0), ax=ax, center=3.0)
    assert extent(ax) == pytest.approx((0.0, 1.0, 3.0, 3.0))


def test_a_label_is_for_the_legend(ax: Axes) -> None:
    """`label` and `color` are matplotlib's."""
    plots.waveform(Clip.tone(440, 0.1), ax=ax, label="prompt", color="#d55e00")
    assert ax.get_legend_handles_labels()[1] == ["prompt"]


@pytest.mark.parametrize("loud", [0.5, 0.8, 0.95])
def test_clipping_is_counted_as_the_clip_counts_it(loud: float, ax: Axes) -> None:
    """Rows of three and more samples count, wherever the columns of the plot end."""
    clip = Clip(np.random.default_rng(2).choice([0.0, 1.0], 20_000, p=[1 - loud, loud]), 48_000)
    plots.waveform(clip, ax=ax)
    assert said(ax) == [f"clipped: {clip.clipped:,} samples at full scale"]


def test_a_peak_that_touches_full_scale_is_not_clipped(ax: Axes) -> None:
    """A clip made as loud as it can be is nothing special."""
    plots.waveform(Clip([0.1, 1.0, 0.1, -1.0], 48_000), ax=ax)
    assert said(ax) == []


# --- spectrogram -----------------------------------------------------------------------------------


def test_a_tone_is_a_line_at_its_frequency(ax: Axes) -> None:
    """The loudest row is the tone's, and has its peak level."""
    plots.spectrogram(Clip.tone(1_000, 1.0, level=-12.0), ax=ax)
    middle = image(ax)[:, 40]
    left, right, bottom, top = ax.images[0].get_extent()
    row = (int(middle.argmax()) + 0.5) / len(middle) * (top - bottom) + bottom
    assert (left, right, row) == pytest.approx((0.0, 1.0, 1_000.0))
    assert middle.max() == pytest.approx(-12.0, abs=0.1)


@pytest.mark.parametrize("seconds", [1.0, 100.0])
def test_a_spectrogram_is_bounded(seconds: float, ax: Axes) -> None:
    """One image of at most 800 columns, however long the clip is."""
    plots.spectrogram(noise(seconds), ax=ax)
    assert len(ax.images) == 1
    assert image(ax).shape[1] <= 800


def test_sound_is_where_it_was(ax: Axes) -> None:
    """A second half that is loud is the second half of the image."""
    plots.spectrogram(Clip.silence(1.0) + noise(1.0), ax=ax)
    levels = image(ax).mean(axis=0)
    assert levels[: len(levels) * 48 // 100].max() == -90.0
    assert levels[len(levels) * 52 // 100 :].min() > -80.0


def test_the_highest_frequency_can_be_chosen(ax: Axes) -> None:
    """`max_frequency` cuts the axis and the work."""
    plots.spectrogram(noise(0.5), ax=ax, max_frequency=8_000)
    assert ax.get_ylim() == (0, 8_000)
    assert image(ax).shape[0] == 161


@pytest.mark.parametrize("wrong", [{"max_frequency": 0}, {"max_frequency": np.nan}, {"floor": 3.0}])
def test_options_out_of_range_are_refused(wrong: dict[str, float], ax: Axes) -> None:
    """A plot of nothing is not drawn in silence."""
    with pytest.raises(errors.ConfigurationError):
        plots.spectrogram(noise(0.1), ax=ax, **wrong)


def test_a_spectrogram_of_its_own_has_a_scale() -> None:
    """Where no axes are given the colours are explained beside them."""
    plt.close("all")
    axes = plots.spectrogram(noise(0.1))
    assert [other.get_ylabel() for other in axes.figure.axes if other is not axes] == ["dBFS"]
    plt.close("all")


# --- level -----------------------------------------------------------------------------------------


def test_the_level_is_that_of_the_tone(ax: Axes) -> None:
    """A sine is 3 dB below its peak throughout."""
    plots.level(Clip.tone(1_000, 1.0, level=-20.0), ax=ax)
    times, levels = ax.lines[0].get_data()
    assert levels == pytest.approx(np.full(50, -23.01), abs=0.05)
    assert (times[0], times[-1]) == pytest.approx((0.01, 0.99))


def test_the_threshold_is_a_line(ax: Axes) -> None:
    """From where a reply counts as audible is marked, once, and explained."""
    for _ in range(2):
        plots.level(noise(0.1), ax=ax)
    lines = [line for line in ax.lines if line.get_label() == "_threshold"]
    assert [line.get_ydata()[0] for line in lines] == [-50.0]
    assert said(ax) == ["dashed: audible from −50 dBFS"]


def test_a_level_is_bounded_and_keeps_the_loudest(ax: Axes) -> None:
    """A click in a minute and a half is seen among 2,400 columns."""
    samples = np.zeros(90 * 48_000, np.float32)
    samples[2_000_000:2_000_960] = 0.5
    plots.level(Clip(samples, 48_000), ax=ax)
    assert len(ax.lines[0].get_xdata()) == 2_400
    assert ax.lines[0].get_ydata().max() > -10


@pytest.mark.parametrize("floor", [np.nan, 0.0, 5.0, -np.inf])
def test_a_floor_that_leaves_nothing_above_is_refused(floor: float, ax: Axes) -> None:
    """A lowest level is below full scale."""
    with pytest.raises(errors.ConfigurationError, match="below 0 dBFS"):
        plots.level(noise(0.1), ax=ax, floor=floor)


def test_silence_is_at_the_floor(ax: Axes) -> None:
    """What has no level is drawn at the lowest."""
    plots.level(Clip.silence(0.1), ax=ax, floor=-70.0)
    assert set(ax.lines[0].get_ydata()) == {-70.0}


def test_a_clip_is_drawn_in_the_colour_of_its_side(ax: Axes) -> None:
    """What was heard is a reply's, unless another colour is asked for."""
    clip = Clip(np.zeros(1000), 1000, role="reply")
    plots.waveform(clip, ax=ax)
    plots.waveform(clip, ax=ax, color="black")
    shown = [to_hex(c.get_facecolor()[0]) for c in ax.collections]
    assert shown == [plots.COLORS["reply"], "#000000"]
