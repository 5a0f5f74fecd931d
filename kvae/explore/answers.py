"""What the explorer shows, computed through the signatures of a version."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from kvae.client import Client
from kvae.data.images.decoding import Unreadable, read
from kvae.data.images.pixels import as_levels, as_unit_interval
from kvae.encode.wanted import Wanted
from kvae.errors import UsageError
from kvae.metrics.latents import active_fraction, rate_per_dim
from kvae.probability.streams import generator

#: Rows that stand for the data: on the map, among neighbours, for what latents carry.
NUM_ROWS = 1_000
_NEAR_ON_MAP = 3


class Rows(NamedTuple):
    """Rows that the explorer has at hand.

    Args:
        x: `(n, ...)`, n at least 2.
        split: of the data, "train" or "test"; "generated" where no data are at hand.
        condition: `(n, condition_dim)`; None: the model has none.
        label: `(n,)`, what colours the map; None: nothing.
        label_name: of the label, "" without one.
    """

    x: np.ndarray
    split: str
    condition: np.ndarray | None = None
    label: np.ndarray | None = None
    label_name: str = ""


class Latents(NamedTuple):
    """Latent dimensions, those that carry most first.

    Args:
        dims: their places in z.
        carries: what each carries.
        unit: of that, in words.
        centre: of each dimension of z over the rows, `(latent_dim,)`.
        spread: standard deviation likewise.
    """

    dims: np.ndarray
    carries: np.ndarray
    unit: str
    centre: np.ndarray
    spread: np.ndarray


class Answers:
    """A published model's answers.

    Args:
        client: that calls it.
        metadata: of its kvae.json; {} where only a server is known.
        rows: that stand for the data; None: 200 are generated.

    Raises:
        UsageError: the model has not the signatures of a kvae version.
    """

    def __init__(self, client: Client, metadata: Mapping[str, Any], rows: Rows | None = None):
        lacks = {"encode", "decode", "generate"} - client.signatures.keys()
        if lacks:
            raise UsageError(
                f"{client.target} has no signature {', '.join(sorted(lacks))}: it is no version "
                "that kvae published"
            )
        self._client, self._metadata, self._given = client, metadata, rows
        shape = client.signatures["encode"].inputs["x"].shape
        self.element_shape = tuple(int(size or 0) for size in shape[1:])
        decode = client.signatures["decode"].inputs
        self.latent_dim = int(decode["latent"].shape[1] or 0)
        self.condition_dim = int(decode["condition"].shape[1] or 0) if "condition" in decode else 0

    @property
    def of_images(self) -> bool:
        """Whether x are images."""
        return len(self.element_shape) == 3

    @property
    def columns(self) -> list[str]:
        """Names of the numbers of a vector."""
        names = self._metadata.get("data_card", {}).get("columns", ())
        count = self.element_shape[0]
        return [str(name) for name in names] if len(names) == count else [
            f"dimension {place + 1}" for place in range(count)
        ]  # fmt: skip

    @property
    def condition_names(self) -> list[tuple[str, list[str]]]:
        """Labels that a condition is made of, each with the names of its columns."""
        said = self._metadata.get("condition", {"names": [], "label_of": []})
        if len(said["names"]) != self.condition_dim:
            return [(f"condition {place + 1}", [""]) for place in range(self.condition_dim)]
        labels = list(dict.fromkeys(said["label_of"]))
        pairs = [*zip(said["label_of"], said["names"], strict=True)]
        return [(label, [name for owner, name in pairs if owner == label]) for label in labels]

    def condition_of(self, choices: Sequence[Any]) -> np.ndarray | None:
        """The condition of what was chosen.

        Args:
            choices: for each label of `condition_names` the name of a class, or of one column
                True or False.
        """
        if not self.condition_dim:
            return None
        parts: list[float] = []
        for (_, names), choice in zip(self.condition_names, choices, strict=True):
            parts += [float(choice)] if len(names) == 1 else [float(choice == n) for n in names]
        return np.array(parts, np.float32)

    @property
    def attributes(self) -> dict[str, float]:
        """Attribute -> how well latents tell it: balanced accuracy on the valid split."""
        found = self._metadata.get("directions", {"names": [], "accuracy": []})
        return dict(zip(found["names"], found["accuracy"], strict=True))

    def sample(self, seed: int, condition: np.ndarray | None = None) -> np.ndarray:
        """The latent of the sample of a seed, `(latent_dim,)`."""
        return self._call("generate", condition, seed=[seed])["latent"][0]

    def encoded(self, x: Any, condition: np.ndarray | None = None) -> np.ndarray:
        """The posterior mean of one row, `(latent_dim,)`.

        Args:
            x: numbers of a row, or the bytes of an image file of any size, cropped as in training
                where that is known, else squeezed to the model's size.
            condition: of the row.

        Raises:
            Unreadable: the file is no image that can be used.
        """
        if not isinstance(x, bytes):
            return self._call("encode", condition, x=np.asarray(x)[None])["mean"][0]
        height, width, channels = self.element_shape
        if channels not in (1, 3):
            raise Unreadable(f"has 1 or 3 colours, the model takes images of {channels} channels")
        card = self._metadata.get("data_card")
        if card is not None and height == width:
            wanted = Wanted(
                self.element_shape, card.get("crop", "center"), (), bool(card.get("binarize"))
            )
            pixels = wanted.decode(x)
        elif "encode_bytes" in self._client.signatures:  # of a server, which knows the crop
            return self._call("encode_bytes", condition, image_bytes=[read(x)])["mean"][0]
        else:
            image = read(x).convert("L" if channels == 1 else "RGB").resize((width, height))
            pixels = np.asarray(image).reshape(self.element_shape)
        return self._call("encode", condition, x=pixels[None])["mean"][0]

    def moved(
        self, latent: np.ndarray, places: Mapping[int, float], strengths: Sequence[float] = ()
    ) -> np.ndarray:
        """A latent with dimensions set and attributes added.

        Args:
            latent: `(latent_dim,)`.
            places: dimension -> its value, in standard deviations from the centre of the rows.
            strengths: of each attribute, in the order of `attributes`; 1 adds the whole of it.
        """
        found = np.array(latent, np.float32)
        for dim, value in places.items():
            found[dim] = self.latents.centre[dim] + value * self.latents.spread[dim]
        if len(strengths):
            vectors = np.array(self._metadata["directions"]["vectors"], np.float32)
            found = found + np.asarray(strengths, np.float32) @ vectors
        return found

    def positions(self, latent: np.ndarray) -> np.ndarray:
        """Where a latent lies, in standard deviations from the centre, `(latent_dim,)`."""
        return (latent - self.latents.centre) / self.latents.spread

    def decoded(self, latent: np.ndarray, condition: np.ndarray | None = None) -> np.ndarray:
        """The mean of p(x given z), `(...)`; of latents `(n, latent_dim)` `(n, ...)`."""
        latents = np.atleast_2d(np.asarray(latent, np.float32))
        found = self._call("decode", condition, latent=latents)["decoded"]
        return found if np.ndim(latent) == 2 else found[0]

    def between(
        self, start: np.ndarray, end: np.ndarray, steps: int, condition: np.ndarray | None = None
    ) -> np.ndarray:
        """A straight line in latent space, decoded: `(steps, ...)`."""
        fraction = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
        return self.decoded(start * (1 - fraction) + end * fraction, condition)

    def samples(self, count: int, seed: int, condition: np.ndarray | None = None) -> np.ndarray:
        """Samples as the signature `generate` makes them: `(count, ...)`."""
        seeds = generator(seed, "explored samples").integers(2**63, size=count)
        return self._call("generate", condition, seed=seeds)["sample"]

    def neighbours(self, x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows that are nearest to x, and their distances, `(count,)`.

        The distance is the root mean square over pixels; of vectors over columns, each in its
        standard deviation over the rows.
        """
        flat, unit, squares = self._flat
        wanted = np.ravel(x).astype(np.float32) / unit
        squared = squares - 2 * (flat @ wanted) + wanted @ wanted
        order = np.argsort(squared, kind="stable")[:count]
        distances = np.sqrt(np.maximum(squared[order], 0) / flat.shape[1])
        return self.rows.x[order], distances

    def as_image(self, x: np.ndarray) -> np.ndarray:
        """An image as uint8, `(height, width)` or `(height, width, 3)`."""
        levels = as_levels(np.asarray(x, np.float32))
        return levels[..., 0] if levels.shape[-1] == 1 else levels

    @cached_property
    def rows(self) -> Rows:
        """The rows that stand for the data."""
        if self._given is not None:
            return self._given
        usual = self.condition_of([names[0] if len(names) > 1 else 0 for _, names in
                                   self.condition_names])  # fmt: skip
        count = 200
        condition = None if usual is None else np.tile(usual, (count, 1))
        x = self.samples(count, 0, usual)
        return Rows(x.clip(0, 1) if self.of_images else x, "generated", condition)

    @cached_property
    def posterior(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of q(z given x) of each of the rows."""
        given = {} if self.rows.condition is None else {"condition": self.rows.condition}
        found = self._client.call("encode", x=as_unit_interval(self.rows.x), **given)
        return found["mean"], found["variance"]

    @cached_property
    def latents(self) -> Latents:
        """The latent dimensions by what they carry of the rows."""
        mean, variance = self.posterior
        config = self._metadata.get("config", {})
        if (config.get("posterior"), config.get("prior")) == ("diagonal", "standard_normal"):
            carries, unit = rate_per_dim(mean, variance), "nats"
        else:
            carries, unit = active_fraction(mean, variance), "of its spread from data"
        spread = np.sqrt(mean.var(axis=0) + variance.mean(axis=0))
        dims = np.argsort(-carries, kind="stable")
        return Latents(dims, carries, unit, mean.mean(axis=0), np.maximum(spread, 1e-6))

    def near_on_map(self, place: Sequence[float], places: np.ndarray) -> np.ndarray:
        """The latent of a point of the map: the mean of those of its three nearest rows.

        Each counts by one over its distance, so that the place of a row gives its own latent.

        Args:
            place: two coordinates.
            places: of the rows, `(n, 2)`.
        """
        distances = np.linalg.norm(places - np.asarray(place), axis=1)
        near = np.argsort(distances, kind="stable")[:_NEAR_ON_MAP]
        weights = 1 / np.maximum(distances[near], 1e-9)
        return (weights / weights.sum()) @ self.posterior[0][near]

    @cached_property
    def _flat(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The rows in their unit, the unit, and the squared length of each row."""
        x = as_unit_interval(self.rows.x)
        flat = np.asarray(x, np.float32).reshape(len(x), -1)
        unit = np.ones(1, np.float32) if self.of_images else np.maximum(flat.std(axis=0), 1e-12)
        flat = flat / unit
        return flat, unit, np.square(flat).sum(axis=1)

    def _call(self, signature: str, condition: np.ndarray | None, **rows: Any) -> Any:
        given = {}
        if condition is not None:
            given["condition"] = np.tile(condition, (len(next(iter(rows.values()))), 1))
        return self._client.call(signature, **rows, **given)
