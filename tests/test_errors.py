"""What a message shows of somebody else's text, and the names that it suggests."""

import tracemalloc

import pytest

from kvae.errors import brief, did_you_mean, one_line

#: An escape sequence, a bell, DEL, a C1 control, a turn of direction, no width, half a pair.
HOSTILE = "\x1b[2J \x07 \x7f \x9b31m \u202e \u200b \udce9"


def test_one_line_is_printable_whatever_it_is_of():
    text = one_line(f"a\n\tb\r\n{HOSTILE} é 日本 😀")
    assert text.isprintable()
    assert text == r"a b \x1b[2J \x07 \x7f \x9b31m \u202e \u200b \udce9 é 日本 😀"


@pytest.mark.parametrize("text", ["x" * 11, "x" * 10**6, "\x1b" * 10, " " * 100 + "x"])
def test_one_line_is_cut_at_a_limit_and_says_so(text):
    assert len(one_line(text, 10)) <= 10
    assert one_line(text, 10).endswith("...")


def test_what_fits_is_not_cut():
    assert one_line("x" * 10, 10) == "x" * 10


def test_a_value_is_shown_as_python_writes_it_and_never_long():
    assert brief("a\x1b") == r"'a\x1b'"
    assert brief(2.5) == "2.5"
    assert len(brief("x" * 10**6)) <= 100
    assert len(brief(list(range(10**4)))) <= 100
    for value in ([], (), (1,), (1, "a"), {}, {1: [None], "x": (b"y",)}, [[2.5], {3: {}}]):
        assert brief(value) == repr(value)
    assert brief(10**5000) == "a whole number of 16610 bits"


@pytest.mark.parametrize(
    "value",
    [[[]] * 10**6, {"a": ([1] * 10**6,)}, b"x" * 10**6, {1: "x" * 10**6}, [[[0] * 999] * 999]],
)
def test_a_value_is_not_written_out_to_be_cut(value):
    tracemalloc.start()
    try:
        assert brief(value).endswith("...")
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "choices", "nearest"),
    [
        ("laten_dim", ["latent_dim", "epochs"], "latent_dim"),
        ("latent-dim", ["latent_dim", "epochs"], "latent_dim"),
        ("MLP", ["conv", "mlp"], "mlp"),
        ("cnov", ["conv", "mlp"], "conv"),
        ("smiling", ["Smiling", "Male"], "Smiling"),
    ],
)
def test_the_nearest_name_is_suggested(name, choices, nearest):
    assert did_you_mean(name, choices) == f"; did you mean {nearest}?"


@pytest.mark.parametrize("name", ["", "x", "mnist", "zebra", "-", "a" * 10**6])
def test_no_name_is_suggested_that_is_far(name):
    assert did_you_mean(name, ["gmm", "digits", "faces", "celeba", "folder", "arrays"]) == ""
