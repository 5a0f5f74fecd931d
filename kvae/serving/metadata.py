"""What kvae.json must say for all that read it: one look at it, and one kind of error."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from kvae.config import OPTIONS, PARTS
from kvae.data import DRAWN
from kvae.data.images.crops import WANTED, is_crop
from kvae.errors import DataError, UsageError, brief, one_line
from kvae.files import strict_json
from kvae.options import Option
from kvae.registry import declared

#: Bytes of a kvae.json at most: the history of some 200,000 epochs.
MAX_BYTES = 2**26
_MOST = 2**31  # no size of an array is larger
_LARGEST = float(np.finfo(np.float32).max)

# What is known when the model is written, and how long that is at most.
_LATER: dict[str, Any] = {
    "published": "", "sampler": "", "num_draws": 1, "versions": {}, "signatures": {},
    "fingerprint": "",
}  # fmt: skip
_LATER_BYTES = 2**20

Check = Callable[[Any, str], None]


class _Damage(ValueError):
    """What is wrong, and where."""


def read(content: bytes, place: object) -> dict[str, Any]:
    """The content of a kvae.json, once it is known to be what its readers rely on.

    Args:
        content: of the file.
        place: of the file, for messages.

    Raises:
        DataError: it is damaged; the message says where.
    """
    try:
        if len(content) > MAX_BYTES:
            raise _Damage(f"it is larger than {MAX_BYTES:,} bytes")
        found = strict_json(content, is_finite=True)
        _METADATA(found, "")
        _check_sizes(found)
    except ValueError as error:
        raise DataError(f"{place} is damaged: {one_line(str(error), 500)}") from error
    return found


def check_given(found: dict[str, Any]) -> None:
    """Refuse what would make a kvae.json that its readers call damaged.

    Args:
        found: what it is to say, but for what only the published model says.

    Raises:
        UsageError: something is not allowed, or is nothing that JSON holds.
    """
    try:
        text = json.dumps({**found, **_LATER}, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise UsageError(
            f"cannot publish: kvae.json holds finite numbers, texts, lists and objects: {error}"
        ) from None
    try:
        read(text.encode() + b" " * _LATER_BYTES, "kvae.json")
    except DataError as error:
        why = str(error).removeprefix("kvae.json is damaged: ")
        raise UsageError(f"cannot publish: in kvae.json {why}") from None


def _refuse(value: Any, key: str, wanted: str) -> None:
    raise _Damage(f"{key or 'it'} must be {wanted}; received {brief(value)}")


def _kind(kinds: tuple[type, ...], wanted: str, is_allowed: Callable[[Any], bool]) -> Check:
    """Values of some types; True is no number."""

    def check(value: Any, key: str) -> None:
        fits = type(value) in kinds and is_allowed(value)
        if not fits:
            _refuse(value, key, wanted)

    return check


def _list(each: Check) -> Check:
    def check(value: Any, key: str) -> None:
        if not isinstance(value, list):
            _refuse(value, key, "a list")
        for place, one in enumerate(value):
            each(one, f"{key}[{place}]")

    return check


def _mapping(each: Check) -> Check:
    def check(value: Any, key: str) -> None:
        if not isinstance(value, dict):
            _refuse(value, key, "an object")
        for name, one in value.items():
            each(one, f"{key}.{name}")

    return check


def _record(needed: dict[str, Check], others: dict[str, Check] | None = None) -> Check:
    """An object with some keys, and perhaps others; what kvae does not know is passed over."""

    def check(value: Any, key: str) -> None:
        if not isinstance(value, dict):
            _refuse(value, key, "an object")
        for name, one in {**needed, **(others or {})}.items():
            if name in value:
                one(value[name], f"{key}.{name}" if key else name)
            elif name in needed:
                raise _Damage(f"it lacks {f'{key}.' if key else ''}{name}")

    return check


def _either(*checks: Check) -> Check:
    """What one of the checks passes; the last one says what is wanted."""

    def check(value: Any, key: str) -> None:
        for one in checks[:-1]:
            try:
                return one(value, key)
            except _Damage:
                continue
        return checks[-1](value, key)

    return check


_text = _kind((str,), "a text", lambda value: True)
_number = _kind((int, float), "a number that float32 holds", lambda value: abs(value) <= _LARGEST)
_size = _kind((int,), f"a whole number from 1 to {_MOST}", lambda value: 0 < value <= _MOST)
_count = _kind((int,), "a whole number of at least 0", lambda value: value >= 0)
_nothing = _kind((type(None),), "null", lambda value: True)
_batch = _kind((str,), "'batch'", lambda value: value == "batch")
_crop = _kind((str,), WANTED, is_crop)
_binarize = _kind(
    (bool, str), f"true or false, {' or '.join(map(repr, DRAWN))}",
    lambda value: isinstance(value, bool) or value in DRAWN,
)  # fmt: skip
_positive = _kind((int, float), "positive", lambda value: value > 0)


def _numbers(value: Any, key: str) -> None:
    """A number, or lists of numbers in lists as an array has them."""
    if isinstance(value, list):
        lengths = {len(one) if isinstance(one, list) else -1 for one in value}
        if len(lengths) > 1:
            _refuse(value, key, "an array of numbers")
        for place, one in enumerate(value):
            _numbers(one, f"{key}[{place}]")
    else:
        _number(value, key)


def _positive_numbers(value: Any, key: str) -> None:
    _numbers(value, key)
    for one in np.ravel(value):
        _positive(one.item(), key)


def _config(value: Any, key: str) -> None:
    """Options of the types that those who declare them have; of parts that are not here, anything.

    Ranges are those of the version that wrote them.
    """
    _record({})(value, key)
    known: dict[str, list[Option]] = {
        option.name: [option] for group in OPTIONS.values() for option in group
    }
    for name, kinds in declared(PARTS).items():
        known.setdefault(name, []).extend(
            option for members in kinds.values() for option in members.values()
        )
    for name in value.keys() & known.keys():
        if not any(_is_value(option, value[name]) for option in known[name]):
            _refuse(value[name], f"{key}.{name}", known[name][0].kind.wanted)


def _is_value(option: Option, value: Any) -> bool:
    return option.default is None if value is None else option.kind.is_like(value)


def _shape(value: Any, key: str) -> None:
    if not isinstance(value, list) or not value:
        _refuse(value, key, "a list that starts with 'batch'")
    _batch(value[0], f"{key}[0]")
    _list(_either(_nothing, _size))(value[1:], key)


def _element_shape(value: Any, key: str) -> None:
    _list(_size)(value, key)
    if len(value) not in (1, 3):
        _refuse(value, key, "of 1 or 3 sizes")


_TENSOR = _record({"dtype": _text, "shape": _shape})
_SIGNATURE = _record({"inputs": _mapping(_TENSOR), "outputs": _mapping(_TENSOR)})
_TEXTS = _list(_text)
_METADATA = _record(
    {
        "published": _text,
        "config": _config,
        "data_card": _record(
            {}, {"crop": _crop, "columns": _list(_either(_count, _text)), "binarize": _binarize}
        ),
        "history": _mapping(_list(_number)),
        "model": _record(
            {"element_shape": _element_shape, "latent_dim": _size},
            {"shift": _numbers, "scale": _positive_numbers, "num_params": _count},
        ),
        "sampler": _text,
        "num_draws": _size,
        "versions": _mapping(_text),
        "signatures": _mapping(_SIGNATURE),
        "fingerprint": _text,
    },
    {
        "files": _mapping(_text),
        "rolled_back_to": _count,
        "course": _record(
            {},
            {
                "start": _mapping(_number), "in_float32": _mapping(_number),
                "ended": _text, "run": _text,
                "left_out": _mapping(_count),
                "best": _record({"epoch": _count, "figure": _text, "value": _number}),
            },
        ),
        "condition": _record({"labels": _TEXTS, "names": _TEXTS, "label_of": _TEXTS}),
        "directions": _record(
            {
                "names": _TEXTS, "left_out": _TEXTS, "held": _list(_TEXTS),
                "accuracy": _list(_number), "vectors": _list(_list(_number)),
            }
        ),
    },
)  # fmt: skip


def _check_sizes(found: dict[str, Any]) -> None:
    """What must be as many, or as long, as something else is."""
    model = found["model"]
    for name in ("shift", "scale"):
        shape, whole = np.shape(model.get(name, 0.0)), tuple(model["element_shape"])
        last = whole[len(whole) - len(shape) :]
        if len(shape) > len(whole) or any(
            own not in (1, size) for own, size in zip(shape, last, strict=True)
        ):
            raise _Damage(f"model.{name} is of shape {shape}, model.element_shape {whole}")
    condition = found.get("condition", {"names": [], "label_of": []})
    _as_many("condition", condition, "names", "label_of")
    directions = found.get("directions")
    if directions is not None:
        _as_many("directions", directions, "names", "accuracy", "held", "vectors")
        if any(len(vector) != model["latent_dim"] for vector in directions["vectors"]):
            raise _Damage(f"directions.vectors must be of {model['latent_dim']} numbers each")


def _as_many(place: str, lists: dict[str, Any], *names: str) -> None:
    lengths = {name: len(lists[name]) for name in names}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{length} {name}" for name, length in lengths.items())
        raise _Damage(f"{place} must have as many of each: received {counts}")
