"""The explorer's page: how it looks, with Gradio; `kvae.explore.answers` computes."""

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from kvae.data.gmm import mixture_of
from kvae.data.images.pixels import as_unit_interval
from kvae.errors import KvaeError
from kvae.explore.answers import Answers
from kvae.explore.maps import NO_PLACING, map_of
from kvae.figures import style
from kvae.figures.vectors import draw_generation
from kvae.metrics import require_finite

_SLIDERS, _ATTRIBUTES, _NEIGHBOURS, _STEPS = 8, 8, 4, 8
_SHOWN = 256  # pixels of an image's longer side, at least
_MOST_POINTS = 3_000
_MAP = 6.0, 100  # inches, pixels an inch
_MOST_GROUPS, _LONGEST_NAME = 20, 24  # of the colours on the map
_BUTTONS = ["download", "fullscreen"]
_DELETED = 600, 3600  # seconds between looks at what was shown, and of its age then
# Fonts of the machine: nothing is fetched.
_FONT = ["ui-sans-serif", "system-ui", "sans-serif"]
# What is made stands above the sliders on a phone, and is seen while they are moved.
CSS = """
.gradio-container {
  width: 100% !important; max-width: 1100px !important; margin: auto; min-width: 0 !important;
}
footer {display: none}
.gradio-container .main {max-width: 100vw !important; box-sizing: border-box}
.gradio-container
:is(.main, .wrap, .contain, .block, .form, .column, .row, .tabs, .tab-container, .tabitem) {
  min-width: 0 !important;
}
/* A figure has its title where Gradio puts the label. */
.gradio-container .titled [data-testid=block-label] {clip-path: inset(50%)}
.gradio-container .drawn {align-items: center}
.gradio-container .prose h2 {font-size: 1.1rem}
.min_value, .max_value, [role=tab].selected {color: var(--body-text-color) !important}
/* Galleries: below their label, of small images too, as high as they are. */
.gradio-container .grid-wrap {
  padding-top: 2.2rem !important; overflow-y: auto !important; min-height: 0 !important;
}
.gradio-container .grid-container {
  grid-template-columns: repeat(var(--grid-cols), minmax(0, 1fr)) !important;
  grid-template-rows: none !important; grid-auto-rows: auto !important;
}
/* Gradio puts its container before each selector in here. */
@media (max-width: 700px) {
  .row {flex-direction: column !important; flex-wrap: nowrap !important}
  .row > * {width: 100% !important}
  .grid-container {--grid-cols: 4 !important}
  .caption-label {
    inset: auto 0 0 0 !important; max-width: none !important; padding: 0 !important;
    text-align: center; font-size: .7rem !important; text-overflow: clip !important;
  }
  .made {order: -1}
}
"""
# Gradio's pictures are buttons without a name, and the names of its thumbnails leave out what
# stands below them: screen readers would not say either.
_NAMED = """() => {
  const named = () => {
    for (const image of document.querySelectorAll(".block button:not([aria-label]) img")) {
      const label = image.closest(".block").querySelector("[data-testid=block-label]");
      if (label) image.closest("button").setAttribute("aria-label", label.textContent.trim());
    }
    for (const one of document.querySelectorAll(".thumbnail-item[aria-label^=Thumbnail]")) {
      const words = one.textContent.trim();
      if (words) one.setAttribute("aria-label", `${words}: ${one.ariaLabel}`);
    }
  };
  new MutationObserver(named).observe(document.body, {childList: true, subtree: true});
}"""


def theme() -> gr.themes.Base:
    """The page's look; no font of it comes from a network."""
    return gr.themes.Default(
        primary_hue="blue", font=_FONT, font_mono=["ui-monospace", "monospace"]
    ).set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
    )


class Page:
    """The parts of the page, and what each does.

    Args:
        answers: that compute.
        name: of the model.
        card: the data card of its data; {} where that is not known.
        folder: for files to download.
    """

    def __init__(self, answers: Answers, name: str, card: dict[str, Any], folder: Path):
        self.answers, self.name, self.card, self.folder = answers, name, card, folder

    def build(self) -> gr.Blocks:
        """The page, to be launched."""
        with gr.Blocks(
            title=f"{self.name}: explorer", analytics_enabled=False, delete_cache=_DELETED
        ) as page:
            gr.Markdown(f"# {self.name}\n\n{self._words()}")
            condition = self._condition_inputs()
            with gr.Tabs():
                with gr.Tab("One row"):
                    self._one(condition)
                with gr.Tab("Between two"):
                    self._between(condition)
                with gr.Tab("Map"):
                    self._map_tab(condition)
                if not self.answers.of_images:
                    with gr.Tab("Samples beside data"):
                        self._beside(condition)
            page.load(None, js=_NAMED, api_name=False)
        return page

    def _words(self) -> str:
        rows, found = self.answers.rows, self.answers
        what = "images" if found.of_images else "rows"
        used = f"{len(rows.x):,} {rows.split} {what}"
        return f"{found.latent_dim} latent dimensions; measured on {used}."

    def _condition_inputs(self) -> list[Any]:
        inputs: list[Any] = []
        if self.answers.condition_dim:
            with gr.Row():
                for label, names in self.answers.condition_names:
                    if len(names) == 1:
                        inputs.append(gr.Checkbox(False, label=label))
                    else:
                        inputs.append(gr.Dropdown(names, value=names[0], label=f"Given: {label}"))
        return inputs

    def _one(self, condition: list[Any]) -> None:
        answers, latents = self.answers, self.answers.latents
        dims = [int(dim) for dim in latents.dims[:_SLIDERS]]
        names = list(answers.attributes)[:_ATTRIBUTES]
        start = answers.sample(0, self._usual())
        positions = answers.positions(start)
        base = gr.State(start.tolist())
        with gr.Row():
            with gr.Column():
                with gr.Row(elem_classes="drawn"):
                    seed = gr.Number(0, label="Seed of the sample", precision=0, minimum=0)
                    draw = gr.Button("Draw", variant="primary")
                given, encode = self._upload()
                gr.Markdown(
                    "## Latents that carry most\n"
                    "In standard deviations from the middle of the data."
                )
                sliders = [
                    gr.Slider(
                        -3, 3, round(float(np.clip(positions[dim], -3, 3)), 2), step=0.01,
                        label=f"z{dim + 1}: {self._carried(place)}",
                    )
                    for place, dim in enumerate(dims)
                ]  # fmt: skip
                if names:
                    gr.Markdown(
                        "## Attributes\n1 adds the whole of one, \N{MINUS SIGN}1 takes it away. "
                        "Accuracy: how often "
                        "latents tell it on the valid split, balanced; 50% is chance."
                    )
                strengths = [
                    gr.Slider(
                        -3, 3, 0, step=0.01,
                        label=f"{name.replace('_', ' ')}: accuracy {answers.attributes[name]:.0%}",
                    )
                    for name in names
                ]  # fmt: skip
            with gr.Column(elem_classes="made"):
                made = self._outputs("What the decoder makes of it")

        def latent_of(base, values):
            places = {
                dim: value for dim, value, old in zip(dims, values, base[1], strict=False)
                if abs(value - old) > 1e-9
            }  # fmt: skip
            full = [*values[len(dims) : len(dims) + len(names)]]
            full += [0.0] * (len(answers.attributes) - len(names) if names else 0)
            return answers.moved(np.array(base[0], np.float32), places, full)

        def moved(base, *values):
            chosen = values[len(dims) + len(names) :]
            return self._shown(latent_of(base, values), chosen)

        def started(latent):
            places = answers.positions(latent).clip(-3, 3)
            values = [round(float(places[dim]), 2) for dim in dims]
            return [[latent.tolist(), values], *values, *[0.0] * len(names)]

        def drawn(seed, *chosen):
            latent = answers.sample(int(seed or 0), answers.condition_of(chosen))
            return [*started(latent), *self._shown(latent, chosen)]

        def encoded(given, *chosen):
            if given is None:
                raise gr.Error("Choose an image first.")
            latent = self._latent_of(given, chosen)
            return [*started(latent), *self._shown(latent, chosen)]

        base.value = started(start)[0]
        every = [*sliders, *strengths]
        refreshed = [base, *every, *made]
        draw.click(drawn, [seed, *condition], refreshed, show_progress="hidden", api_name="draw")
        encode.click(encoded, [given, *condition], refreshed, api_name="encode")
        for one in (*every, *condition):
            # By hand and by keyboard; Gradio's button that sets a slider back only releases it.
            events = [one.input, one.release] if isinstance(one, gr.Slider) else [one.input]
            gr.on(events, moved, [base, *every, *condition], made, show_progress="hidden",
                  trigger_mode="always_last")  # fmt: skip
        gr.context.Context.root_block.load(drawn, [seed, *condition], refreshed, api_name=False)

    def _between(self, condition: list[Any]) -> None:
        with gr.Row():
            first = gr.Number(1, label="Seed of the first end", precision=0, minimum=0)
            last = gr.Number(2, label="Seed of the last end", precision=0, minimum=0)
        start = end = None
        if self.answers.of_images:
            with gr.Accordion("Photos in place of the seeds", open=False), gr.Row():
                start, end = _photo("First end"), _photo("Last end")
        button = gr.Button("Draw the line between them", variant="primary")
        if self.answers.of_images:
            shown: Any = _gallery("A straight line in latent space", _STEPS)
        else:
            shown = gr.Dataframe(headers=self.answers.columns, label="A straight line")

        def line(first, last, *rest):
            images, chosen = (rest[:2], rest[2:]) if start is not None else ((None, None), rest)
            given = self.answers.condition_of(chosen)
            ends = [
                self.answers.sample(int(seed or 0), given) if image is None
                else self._encoded(image, given)
                for seed, image in zip((first, last), images, strict=True)
            ]  # fmt: skip
            rows = self.answers.between(ends[0], ends[1], _STEPS, given)
            return [self._picture(row) if start is not None else _told(row) for row in rows]

        photos = [] if start is None else [start, end]
        button.click(line, [first, last, *photos, *condition], shown, api_name="between")

    def _map_tab(self, condition: list[Any]) -> None:
        coloured = f", coloured by {self.answers.rows.label_name}" if self._groups[1] else ""
        how = "t-SNE" if self.answers.latent_dim > 2 else "their latents as they are"
        gr.Markdown(
            f"Posterior means of {len(self.answers.rows.x):,} {self.answers.rows.split} rows by "
            f"{how}{coloured}. A click decodes the point, from its three nearest rows."
        )
        with gr.Row():
            with gr.Column():
                button = gr.Button("Draw the map", variant="primary")
                picture = _picture("Map")
            with gr.Column():
                made = self._outputs("The point that was clicked")
                given, place = self._upload("Place it on the map")

        def clicked(event: gr.SelectData, *chosen):
            latent = self.answers.near_on_map(self._place_of(event.index), self._map.places)
            return self._shown(latent.astype(np.float32), chosen)

        def placed(given, *chosen):
            if self._map.place is None:
                raise gr.Error(NO_PLACING)
            if given is None:
                raise gr.Error("Choose an image first.")
            return self._drawn_map(self._map.place(self._latent_of(given, chosen)))

        button.click(lambda: self._drawn_map(), None, picture, api_name="map")
        picture.select(clicked, condition, made, show_progress="hidden")
        place.click(placed, [given, *condition], picture, api_name="place")

    def _beside(self, condition: list[Any]) -> None:
        mixture, rows = mixture_of(self.card), self.answers.rows
        seed = gr.Number(0, label="Seed of the samples", precision=0, minimum=0)
        button = gr.Button("Draw samples", variant="primary")
        shown = _picture("Data and samples", "titled")

        def drawn(seed, *chosen):
            count = min(_MOST_POINTS, max(500, len(rows.x)))
            found = self.answers.samples(count, int(seed or 0), self.answers.condition_of(chosen))
            require_finite("samples", found)
            groups = [
                mixture.responsibilities(x).argmax(axis=1) if mixture else np.zeros(len(x), int)
                for x in (rows.x, found)
            ]
            unit = 1.0 if mixture else np.maximum(rows.x.std(axis=0), 1e-12)
            scaled = "" if mixture else ", columns over their standard deviation"
            title = f"{self.name}: {rows.split} rows, and samples of seed {int(seed or 0)}{scaled}"
            return _pixels(
                draw_generation(rows.x / unit, groups[0], found / unit, groups[1], title)
            )

        button.click(drawn, [seed, *condition], shown, api_name="beside")

    @cached_property
    def _map(self) -> Any:
        return map_of(self.answers.posterior[0])

    @cached_property
    def _frame(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest coordinates of the map, and its widths."""
        low, high = self._map.places.min(axis=0), self._map.places.max(axis=0)
        width = np.maximum(high - low, 1e-9)
        return low - 0.05 * width, 1.1 * width

    @cached_property
    def _groups(self) -> tuple[np.ndarray, list[str]]:
        """The group of each row on the map, from 0, and their names; none where nothing colours."""
        rows = self.answers.rows
        if rows.label is None or rows.label.dtype.kind not in "biu":
            return np.zeros(len(rows.x), int), []
        values, groups = np.unique(rows.label, return_inverse=True)
        if len(values) > _MOST_GROUPS:
            return np.zeros(len(rows.x), int), []
        known = self.card.get("label_names", {}).get(rows.label_name, ())
        if rows.label.dtype.kind == "b":
            known = ("no", "yes")
        named = [known[value] if 0 <= value < len(known) else value for value in values.astype(int)]
        return groups, [style.plain(str(name), _LONGEST_NAME) for name in named]

    def _place_of(self, pixel: Any) -> np.ndarray:
        low, width = self._frame
        side = _MAP[0] * _MAP[1]
        return low + width * np.array([pixel[0] / side, 1 - pixel[1] / side])

    def _drawn_map(self, mark: np.ndarray | None = None) -> np.ndarray:
        low, width = self._frame
        figure = Figure(figsize=(_MAP[0], _MAP[0]), dpi=_MAP[1])
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(low[0], low[0] + width[0]), ylim=(low[1], low[1] + width[1]))
        axes.set_axis_off()
        groups, names = self._groups
        style.scatter(axes, self._map.places, groups, s=14)
        if names:
            handles = style.group_handles(np.arange(len(names)))
            title = style.plain(self.answers.rows.label_name, _LONGEST_NAME)
            axes.legend(
                handles, names, title=title, loc="lower right", framealpha=0.9
            )  # away from Gradio's label
        if mark is not None:
            axes.scatter(*mark, s=260, marker="*", c=style.INK, edgecolors="white", zorder=9)
        return _pixels(figure)

    def _carried(self, place: int) -> str:
        latents = self.answers.latents
        value = latents.carries[latents.dims[place]]
        return f"{value:.2f} nats" if latents.unit == "nats" else f"{value:.0%} {latents.unit}"

    def _usual(self) -> np.ndarray | None:
        names = self.answers.condition_names
        return self.answers.condition_of([n[0] if len(n) > 1 else False for _, n in names])

    def _upload(self, words: str = "Encode it") -> tuple[Any, Any]:
        if self.answers.of_images:
            with gr.Accordion("A photo of your own", open=False):
                given: Any = _photo("Photo")
                return given, gr.Button(words)
        with gr.Accordion("A row of your own", open=False):
            usual = [[float(value) for value in self.answers.rows.x[0]]]
            given = gr.Dataframe(
                usual, headers=self.answers.columns, type="array", row_count=1, label="Row"
            )
            return given, gr.Button(words)

    def _outputs(self, label: str) -> list[Any]:
        """What `_shown` fills. Gradio's images have a button for their download."""
        if self.answers.of_images:
            shown: Any = _picture(label)
            return [shown, self._neighbours_output()]
        shown = gr.Dataframe(headers=["column", "value"], label=label, interactive=False)
        return [shown, gr.DownloadButton("Download"), self._neighbours_output()]

    def _neighbours_output(self) -> Any:
        label = f"Nearest of {len(self.answers.rows.x):,} {self.answers.rows.split} rows"
        if self.answers.of_images:
            return _gallery(label, _NEIGHBOURS)
        return gr.Dataframe(
            headers=[*self.answers.columns, "distance"], label=label, interactive=False
        )

    def _latent_of(self, given: Any, chosen: Any) -> np.ndarray:
        condition = self.answers.condition_of(chosen)
        if self.answers.of_images:
            return self._encoded(given, condition)
        try:
            row = np.array(given[0], np.float32)
        except (ValueError, TypeError, IndexError):
            raise gr.Error("A row is one number a column.") from None
        if not np.isfinite(row).all():
            raise gr.Error("A row is one finite number a column.")
        return self.answers.encoded(row, condition)

    def _encoded(self, path: str, condition: np.ndarray | None) -> np.ndarray:
        """The latent of a photo."""
        try:
            return self.answers.encoded(Path(path).read_bytes(), condition)
        except KvaeError as error:
            raise gr.Error(f"The photo {error}.") from None

    def _shown(self, latent: np.ndarray, chosen: Any) -> list[Any]:
        """The decoded row, of numbers its file, and its neighbours."""
        x = self.answers.decoded(latent, self.answers.condition_of(chosen))
        near, distances = self.answers.neighbours(x, _NEIGHBOURS)
        if self.answers.of_images:
            picture = self._picture(x)
            pairs = zip(near, distances, strict=True)
            gallery = [(self._picture(one), f"{distance:.3f}") for one, distance in pairs]
            return [picture, gallery]
        columns = self.answers.columns
        table = [[name, value] for name, value in zip(columns, _told(x), strict=True)]
        text = f"{','.join(columns)}\n{','.join(f'{value:.9g}' for value in x)}\n"
        pairs = zip(near, distances, strict=True)
        rows = [[*_told(one), float(f"{distance:.3g}")] for one, distance in pairs]
        return [table, self._file(text), rows]

    def _file(self, text: str) -> str:
        """A table to download: of one text always the same file."""
        place = self.folder / hashlib.sha256(text.encode()).hexdigest()
        place.mkdir(exist_ok=True)
        path = place / "x.csv"
        path.write_text(text, encoding="utf-8")
        return str(path)

    def _picture(self, x: np.ndarray) -> Image.Image:
        """An image in whole multiples of its pixels, as large as is seen well."""
        image = Image.fromarray(self.answers.as_image(as_unit_interval(x)))
        factor = max(1, _SHOWN // max(image.size))
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _pixels(figure: Figure) -> np.ndarray:
    canvas = figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _told(numbers: Any) -> list[float]:
    """Numbers of a table with the digits that float32 has."""
    return [float(f"{number:.6g}") for number in numbers]


def _picture(label: str, look: str | None = None) -> Any:
    """A picture that is shown; Gradio's button to share would send it away."""
    return gr.Image(
        label=label, interactive=False, format="png", buttons=_BUTTONS, elem_classes=look
    )


def _gallery(label: str, columns: int) -> Any:
    return gr.Gallery(
        label=label, columns=columns, object_fit="contain", height="auto", buttons=_BUTTONS
    )


def _photo(label: str) -> Any:
    """A place for a file, which is handed on as it is: training reads files in its own way."""
    return gr.Image(
        type="filepath", image_mode=None, label=label, height=220, buttons=["fullscreen"]
    )
