"""How a training went: what is drawn, and what is left out."""

import csv
from pathlib import Path

import numpy as np
import pytest

from kvae.figures.curves import draw_curves


def history(epochs, **first):
    """Figures that settle; of the first epoch those that are given."""
    gone = 1 - np.exp(-np.arange(epochs) / max(1, epochs / 6))
    found = {"distortion": 8 - 6 * gone, "rate": 3 + 2 * gone, "loss": 20 - 9 * gone}
    found["elbo"] = -found["distortion"] - found["rate"]
    found |= {f"val_{name}": values - 0.2 for name, values in found.items()}
    for name, value in first.items():
        found[name][0] = value
    return found


def panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def seen(axes):
    low, high = axes.get_ylim()
    return [(line.get_ydata() >= low) & (line.get_ydata() <= high) for line in axes.lines[:2]]


@pytest.mark.parametrize("epochs", [1, 2, 3, 36, 200])
def test_of_an_ordinary_training_every_epoch_is_seen(epochs):
    figure = draw_curves(history(epochs), "t", best=epochs)
    assert [*panels(figure)] == ["ELBO", "distortion", "rate"]
    for axes in figure.axes:
        assert np.all(seen(axes))
        assert axes.get_title(loc="right") == ""


@pytest.mark.parametrize("epochs", [3, 5, 6, 36, 200])
def test_a_first_epoch_far_off_does_not_flatten_the_others(epochs):
    far = {"val_elbo": -745973.0, "elbo": -745000.0, "val_distortion": 745970.0}
    ours = history(epochs, **far, val_rate=-99.0, rate=999.0)
    found = panels(draw_curves(ours, "t"))
    for name, told in (("ELBO", "\N{MINUS SIGN}745,973"), ("distortion", "745,970")):
        shown, _ = seen(found[name])
        assert not shown[0] and shown[1:].all()
        assert found[name].get_title(loc="right") == f"beyond: epoch 1, {told}"
        assert np.ptp(found[name].get_ylim()) < 20
    beyond = found["rate"].get_title(loc="right")
    assert beyond == "beyond: epoch 1, \N{MINUS SIGN}99 and 999"


def test_two_epochs_are_seen_however_far_apart():
    shown, _ = seen(panels(draw_curves(history(2, val_elbo=-1e6), "t"))["ELBO"])
    assert shown.all()


def test_the_best_epoch_and_the_weights_at_the_start_are_marked():
    ours = history(20)
    figure = draw_curves(
        ours, "t", best=15, chosen_by="loss", start={"loss": 16.0, "elbo": -9.0}, rising=[(1, 5)]
    )
    assert {*panels(figure)} == {"ELBO", "loss", "distortion", "rate"}
    axes = panels(figure)["loss"]
    marks = [line.get_xydata().ravel() for line in axes.lines if len(line.get_xdata()) == 1]
    np.testing.assert_allclose(marks, [[0, 16.0], [15, ours["val_loss"][14]]])
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert f"kept: epoch 15, valid loss {ours['val_loss'][14]:.5g}" in told
    assert {"weights at the start", "beta is not at its full value"} <= {*told}
    (band,) = axes.patches
    assert (band.get_x(), band.get_width()) == (0.5, 5.0)


def test_weights_at_the_start_may_be_the_best():
    figure = draw_curves(history(3), "t", best=0, start={"elbo": -5.0})
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "kept: weights at the start, valid ELBO \N{MINUS SIGN}5" in told


def test_a_start_far_off_is_told_and_not_drawn_outside_of_its_panel():
    figure = draw_curves(history(1, elbo=-170.0, val_elbo=-170.5), "t", best=0, start={"elbo": -20})
    axes = panels(figure)["ELBO"]
    low, high = axes.get_ylim()
    assert all(low <= y <= high for line in axes.lines[:-1] for y in line.get_ydata())
    assert axes.get_title(loc="right") == "beyond: start, \N{MINUS SIGN}20"


def test_what_is_not_finite_is_a_gap(tmp_path):
    ours = history(9, elbo=np.nan, val_elbo=np.inf)
    draw_curves(ours, "t", path=tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    draw_curves({name: values * np.nan for name, values in ours.items()}, "t")


@pytest.mark.parametrize("change", [{"val_rate": [1.0]}, {"rate": None}])
def test_figures_of_other_epochs_are_refused(change):
    ours = {name: v for name, v in {**history(3), **change}.items() if v is not None}
    with pytest.raises(ValueError, match="history must have elbo, val_elbo"):
        draw_curves(ours, "t")
    with pytest.raises(ValueError, match="one at least"):
        draw_curves(history(0), "t")


def test_the_documented_lines_draw_a_run_that_is_not_over(tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "watching.md").read_text(encoding="utf-8")
    lines = text[text.index("import csv\n") :].split("```")[0]
    folder = tmp_path / "saved" / "gmm" / "training"
    folder.mkdir(parents=True)
    ours = {"epoch": [0.0, 1.0], **history(2)}
    with (folder / "history.csv").open("w", newline="") as file:
        csv.writer(file).writerows([ours, *zip(*ours.values(), strict=True)])
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    assert (tmp_path / "curves.png").exists()
