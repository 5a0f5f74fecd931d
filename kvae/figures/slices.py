"""Where to look at a mixture's density: the whole of it, or slices through its components."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kvae.data.gmm import Mixture

# A Gaussian falls by 12 nats within 4.9 standard deviations.
NATS_SHOWN, _REACH = 12.0, 4.9
MAX_POINTS, _MAX_POINTS_OF_A_LINE = 19_200, 1_200
_COARSE_POINTS, _MARGIN, _MAX_ASPECT = 2_500, 0.04, 3.0


@dataclass(frozen=True, eq=False)
class Slice:
    """A segment or a rectangle in D dimensions, and a grid on it.

    Args:
        origin: `(D,)`, where its coordinates are zero.
        directions: `(D, d)`, orthonormal, d = 1 or 2.
        limits: `(d, 2)`, its lowest and highest coordinates.
        labels: of its coordinates.
        caption: what it passes through.
        size: of the grid, points in each direction.
    """

    origin: np.ndarray
    directions: np.ndarray
    limits: np.ndarray
    labels: tuple[str, ...]
    caption: str
    size: int

    def ticks(self, direction: int) -> np.ndarray:
        """Give the grid's coordinates in a direction, `(size,)`: the middles of equal cells."""
        low, high = self.limits[direction]
        return low + (high - low) * (np.arange(self.size) + 0.5) / self.size

    def points(self) -> np.ndarray:
        """Give the grid's points, `(size**d, D)`; the first coordinate varies fastest."""
        mesh = np.meshgrid(*(self.ticks(i) for i in range(len(self.limits))))
        coordinates = np.stack([values.ravel() for values in mesh], axis=1)
        return self.origin + coordinates @ self.directions.T


def slices_of(mixture: Mixture) -> list[Slice]:
    """Choose where to look at a mixture, 19,200 points in all at most.

    One or two dimensions are shown whole, if the narrowest component is wide enough to be seen.
    Else there is a slice along the first and the last dimension (where a curved component bends)
    through the centre of the component of the largest weight, one through that of the smallest, and
    the plane through the centres of the three largest. Where components lie too far apart for that
    plane, the third slice passes through the component of median weight. A frame holds what is
    within 12 nats of the highest centre passed.

    Args:
        mixture: of any number of dimensions and components.

    Returns:
        One, two or three slices, all along as many directions.
    """
    largest_first = [int(k) for k in np.argsort(-mixture.weights, kind="stable")]
    if mixture.dim <= 2:
        whole = _whole(mixture)
        if _sharp(mixture, whole, largest_first):
            return [_framed(mixture, whole, largest_first)]
    first, last = largest_first[0], largest_first[-1]
    names = {first: "largest", last: "smallest"} if first != last else {first: ""}
    through = largest_first[:3]
    plane = _plane(mixture, through) if mixture.dim > 2 else None
    use_plane = plane is not None and _sharp(mixture, plane, through)
    if not use_plane and mixture.num_components > 2:
        names = {first: "largest", largest_first[mixture.num_components // 2]: "median", **names}
    found = [_window(mixture, component, name) for component, name in names.items()]
    if plane is not None and use_plane:
        found.append(plane)
    passed = [*names, *(through if use_plane else [])]
    return [_framed(mixture, one, passed) for one in found]


def centres(mixture: Mixture) -> np.ndarray:
    """Give the points where the density of each component is highest, `(K, D)`."""
    # The shear of a curved component lowers the last coordinate of its Gaussian's mean.
    found = mixture.means.copy()
    found[:, -1] -= mixture.warp * np.sqrt(mixture.covariances[:, -1, -1])
    return found


def _size(directions: int, count: int) -> int:
    return _MAX_POINTS_OF_A_LINE // count if directions == 1 else int((MAX_POINTS // count) ** 0.5)


def _whole(mixture: Mixture) -> Slice:
    dim = mixture.dim
    directions = np.eye(dim)
    limits = _limits(mixture, np.zeros(dim), directions, range(mixture.num_components))
    labels = tuple(f"dimension {index + 1}" for index in range(dim))
    return Slice(np.zeros(dim), directions, limits, labels, "", _size(dim, 1))


def _window(mixture: Mixture, component: int, name: str) -> Slice:
    """Make a slice along the first and the last dimension through one component's centre."""
    shown = [0, mixture.dim - 1] if mixture.dim > 1 else [0]
    directions = np.eye(mixture.dim)[:, shown]
    origin = centres(mixture)[component]
    origin[shown] = 0  # coordinates are those of the data
    limits = _limits(mixture, origin, directions, [component])
    labels = tuple(f"dimension {index + 1}" for index in shown)
    caption = f"component {component}"
    caption += f" ({name} weight: {mixture.weights[component]:.2g})" if name else ""
    if mixture.dim == 3:
        place = f"{origin[1]:.3g}".replace("-", "\N{MINUS SIGN}")
        caption += f"\nthrough its centre: dimension 2 at {place}"
    elif mixture.dim > 3:
        caption += "\nthrough its centre, other dimensions fixed"
    return Slice(origin, directions, limits, labels, caption, _size(len(shown), 3))


def _plane(mixture: Mixture, components: Sequence[int]) -> Slice:
    """Make the plane through up to three centres; a component's long axes stand in for others."""
    found = centres(mixture)
    origin = found[components[0]]
    longest_first = np.linalg.eigh(mixture.covariances[components[0]])[1][:, ::-1].T
    directions: list[np.ndarray] = []
    for wanted in (*(found[list(components[1:])] - origin), *longest_first):
        rest = wanted - sum(((wanted @ own) * own for own in directions), np.zeros(mixture.dim))
        if np.linalg.norm(rest) > 1e-3 * np.linalg.norm(wanted) and len(directions) < 2:
            directions.append(rest / np.linalg.norm(rest))
    axes = np.stack(directions, axis=1)
    limits = _limits(mixture, origin, axes, components)
    first, *others = components
    caption = f"plane along the two longest\naxes of component {first}"
    labels = f"from the centre of component {first}", "at right angles"
    if others:
        labels = (
            f"from the centre of {first} towards that of {others[0]}",
            "at right angles to that",
        )
        listed = ", ".join(map(str, components[:-1])) + f" and {components[-1]}"
        caption = f"plane through the centres\nof components {listed}"
    return Slice(origin, axes, limits, labels, caption, _size(2, 3))


def _limits(
    mixture: Mixture, origin: np.ndarray, directions: np.ndarray, components: Sequence[int]
) -> np.ndarray:
    """Give limits that certainly hold what is to be seen of some components, `(d, 2)`."""
    chosen = list(components)
    middles = (centres(mixture)[chosen] - origin) @ directions
    spread = np.einsum("id,kij,jd->kd", directions, mixture.covariances[chosen], directions)
    bend = mixture.warp * np.sqrt(mixture.covariances[chosen, -1, -1])[:, None]
    reach = _REACH * np.sqrt(spread) + _REACH**2 * bend * np.abs(directions[-1])
    return np.stack([(middles - reach).min(0), (middles + reach).max(0)], axis=1)


def _sharp(mixture: Mixture, found: Slice, components: Sequence[int]) -> bool:
    """Say whether the narrowest of some components covers a few cells of the grid."""
    precisions = np.linalg.inv(mixture.covariances[list(components)])
    inside = np.einsum("id,kij,je->kde", found.directions, precisions, found.directions)
    narrowest = 1 / np.sqrt(np.linalg.eigvalsh(inside).max())
    return bool(np.ptp(found.limits, axis=1).max() / found.size <= 2 * narrowest)


def _framed(mixture: Mixture, found: Slice, passed: Sequence[int]) -> Slice:
    """Draw the limits in to what is within 12 nats of the peak of the components passed."""
    floor = mixture.log_prob(centres(mixture)[list(passed)]).max() - NATS_SHOWN
    limits = found.limits
    size = round(_COARSE_POINTS ** (1 / len(limits)))
    for _ in range(2):  # the second time on a finer grid
        coarse = replace(found, limits=limits, size=size)
        inside = mixture.log_prob(coarse.points()) > floor
        if not inside.any():
            break
        shown = (coarse.points()[inside] - found.origin) @ found.directions
        cell = np.ptp(limits, axis=1) / size
        limits = np.stack([shown.min(0) - cell, shown.max(0) + cell], axis=1)
    width = np.ptp(limits, axis=1)
    wanted = np.maximum(width, width.max() if width.max() <= _MAX_ASPECT * width.min() else 0)
    middle, half = limits.mean(1), (0.5 + _MARGIN) * wanted
    limits = np.stack([middle - half, middle + half], axis=1)
    return replace(found, limits=limits)
