"""TF Serving's REST interface."""

import base64
import json
import math
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import numpy as np
import requests

from kvae.client.answers import (
    MOST_BYTES,
    SMALL_BYTES,
    Call,
    NotServed,
    ServingError,
    Signature,
    Tensor,
    check_names,
    described,
    named,
    tensor,
    understood,
    version_of,
    whole,
    words,
)
from kvae.client.exchange import Session
from kvae.client.transports import READY, Transport
from kvae.errors import brief
from kvae.files import strict_json

# TF Serving writes a number, and a bracket, on a line of its own, indented by 4 for each level.
_NUMBER_BYTES, _BRACKET_BYTES, _INDENT, _LEVELS_ABOVE = 32, 4, 4, 2
_IN_PATHS = "!$&'()*+,;=@~"  # stand for themselves; TF Serving undoes no escapes


class Rest(Transport):
    """TF Serving's REST interface."""

    def __init__(self, target: str, model: str, version: int | None, timeout: float, retries: int):
        self._timeout = timeout
        self._model_url = f"{target.rstrip('/')}/v1/models/{quote(model, safe=_IN_PATHS)}"
        self._version = version
        # Which of the two sessions repeats: waiting looks again by itself.
        self._sessions = {True: Session(retries), False: Session(0)}

    def available(self, timeout: float, *, repeat: bool = True) -> list[int]:
        """See `Transport`."""
        url = self._url_of()
        found, _ = self._ask("GET", url, timeout=timeout, repeat=repeat)
        with understood(url, "a status"):
            versions = [(version_of(one["version"]), one["state"]) for one in _states(found)]
        return [number for number, state in versions if state == READY]

    def close(self) -> None:
        """See `Transport`."""
        for session in self._sessions.values():
            session.close()

    def signatures(self) -> dict[str, Signature]:
        """See `Transport`."""
        url = f"{self._url_of()}/metadata"
        answer, _ = self._ask("GET", url)
        with understood(url, "metadata"):
            found = answer["metadata"]["signature_def"]["signature_def"]
            return described(
                {
                    name: (one.get("inputs", {}), one.get("outputs", {}))
                    for name, one in found.items()
                },
                lambda one: tensor(
                    one["dtype"], [whole(dim["size"]) for dim in one["tensor_shape"]["dim"]]
                ),
            )

    def bytes_of_row(self, wanted: dict[str, Tensor]) -> int:
        """See `Transport`."""
        return sum(_bytes_of_row(one) for one in wanted.values())

    def _answer(self, call: Call) -> dict[str, np.ndarray]:
        url, wanted = f"{self._url_of(call.version)}:predict", call.wanted
        found, content = self._ask("POST", url, call)
        with understood(url, "something"):
            outputs = found["outputs"]
        if not isinstance(outputs, dict):  # of one output the server leaves the name out
            outputs = dict.fromkeys(wanted, outputs) if len(wanted) == 1 else {}
        check_names(call, outputs)
        return {
            name: _array(
                f"{url}: {named(call.signature)} answered {named(name)}", value, call, name, content
            )
            for name, value in outputs.items()
        }

    def _url_of(self, version: int | None = None) -> str:
        version = self._version if version is None else version
        return self._model_url + (f"/versions/{version}" if version is not None else "")

    def _ask(
        self, method: str, url: str, call: Call | None = None, *, timeout: float | None = None,
        repeat: bool = True,
    ) -> tuple[dict[str, Any], bytes]:  # fmt: skip
        """The object that the server answers, and its text."""
        seconds = timeout or self._timeout
        sent, most_bytes = None, SMALL_BYTES
        if call is not None:
            sent = _request(call)
            most_bytes = min(call.rows * self.bytes_of_row(call.wanted) + SMALL_BYTES, MOST_BYTES)
        try:
            answer, content = self._sessions[repeat].exchange(
                method, url, sent, seconds=seconds, most_bytes=most_bytes
            )
        except ServingError as error:
            raise ServingError(f"{url} {error}{_why(call)}") from error
        except (TimeoutError, requests.Timeout) as error:
            raise ServingError(f"{url}: no answer within {seconds:g} seconds") from error
        except Exception as error:  # what comes makes the libraries fail in any way
            raise ServingError(f"{url} cannot be reached: {words(_reason(error))}") from error
        if answer.status_code != 200:
            raise _refusal(url, answer, content)
        if call is not None:
            _check_parts(url, call, content)
        try:
            found = strict_json(content)
        except MemoryError as error:
            raise ServingError(f"{url} answered with more than there is memory for") from error
        except ValueError as error:
            raise ServingError(
                f"{url} is no server of TensorFlow models: it answered no JSON: {words(error)}"
            ) from error
        if not isinstance(found, dict):
            raise ServingError(
                f"{url} is no server of TensorFlow models: it answered {brief(found)}"
            )
        return found, content


def _why(call: Call | None) -> str:
    """What the limit of an answer comes from."""
    if call is None:
        return ", where a few thousand are usual"
    rows = "this row" if call.rows == 1 else f"these {call.rows} rows"
    return f", more than the signature's outputs of {rows} can be over REST; grpc:// takes less"


def _lists_of_row(one: Tensor) -> int:
    """How many lists a row is, in lists."""
    return sum(math.prod(one.row[:depth]) for depth in range(len(one.row)))


def _bytes_of_row(one: Tensor) -> int:
    indent = _INDENT * (len(one.shape) + _LEVELS_ABOVE)
    return math.prod(one.row) * (_NUMBER_BYTES + indent) + _lists_of_row(one) * 2 * (
        _BRACKET_BYTES + indent
    )


def _check_parts(url: str, call: Call, content: bytes) -> None:
    """Refuse what becomes many more objects than were asked for, before there are any."""
    names = sum(map(len, call.wanted)) + len(call.wanted)
    lists = call.rows * sum(map(_lists_of_row, call.wanted.values())) + names
    numbers = call.rows * sum(math.prod(one.row) for one in call.wanted.values())
    for mark, count in ((b"[", lists), (b"{", 2 + names), (b",", numbers + lists)):
        most = min(count, MOST_BYTES // _NUMBER_BYTES)
        found = content.count(mark)
        if found > most:
            raise ServingError(
                f"{url} answered with {found:,} times {mark.decode()}: the signature's outputs of "
                f"{call.rows} rows have it at most {most:,} times"
            )


def _request(call: Call) -> str:
    inputs = {name: _json_of(value) for name, value in call.inputs.items()}
    return json.dumps({"signature_name": call.signature, "inputs": inputs})


def _refusal(url: str, answer: requests.Response, content: bytes) -> ServingError:
    said: Any = content.decode(errors="replace")
    with suppress(ValueError, TypeError, LookupError):
        said = strict_json(content)["error"]
    moved = answer.headers.get("Location") if answer.is_redirect else None
    if moved:
        said = f"it is at {moved} now, give that address"
    kind = NotServed if answer.status_code == 404 else ServingError
    return kind(f"{url} answered {answer.status_code}: {words(said)}")


def _states(found: Any) -> list[Any]:
    states = found["model_version_status"]
    if not isinstance(states, list):
        raise TypeError(f"model_version_status is a list: received {brief(states)}")
    return states


def _array(place: str, value: Any, call: Call, name: str, content: bytes) -> np.ndarray:
    """An output's JSON as an array of the signature's dtype.

    NaN and Infinity are what TF Serving writes of such numbers: a model's answer like others.
    """
    dtype = call.wanted[name].dtype
    allowed = {"b": (bool,), "i": (int,), "u": (int,), "f": (int, float)}.get(
        np.dtype(dtype).kind if dtype != "string" else "", ()
    )
    # A name has two quotes. Where there are more, or words, look at every value.
    is_plain = content.count(b'"') <= 2 * (len(call.wanted) + 1) and not any(
        word in content for word in (b"true", b"false", b"null")
    )
    if not (is_plain and float in allowed):
        wrong = next((one for one in _leaves(value) if type(one) not in allowed), None)
        if wrong is not None or None in _leaves(value):
            raise ServingError(f"{place} with {brief(wrong)}: {dtype} is wanted")
    try:
        array = np.array(value, np.float64 if float in allowed else dtype)
        with np.errstate(over="ignore"):
            found = array.astype(dtype)
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise ServingError(f"{place} that is no array of {dtype}: {words(error)}") from error
    if float in allowed:
        lost = np.isinf(found) & (np.isfinite(array) | (b"Infinity" not in content))
        if lost.any():
            raise ServingError(f"{place} with numbers that {dtype} does not hold")
    return found


def _leaves(value: Any) -> Any:
    """The values in lists in lists."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, list):
            left.extend(one)
        else:
            yield one


def _json_of(value: np.ndarray) -> Any:
    if value.dtype == object:
        return [{"b64": base64.b64encode(content).decode()} for content in value]
    return value.tolist()


def _reason(error: BaseException) -> str:
    """The innermost words of an error that others were wrapped around."""
    inner: Any = error
    while True:
        following = getattr(inner, "reason", None) or next(
            (one for one in inner.args if isinstance(one, BaseException)), None
        )
        if not isinstance(following, BaseException):
            return str(inner).rpartition(": ")[2] or type(inner).__name__
        inner = following
