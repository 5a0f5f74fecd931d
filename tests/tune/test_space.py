"""What --search says."""

import pytest

from kvae.errors import UsageError
from kvae.tune import space
from kvae.tune.space import Choices, Range

UNITS = ((64, 64), (128,))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("learning_rate=1e-4..1e-2:log", Range("learning_rate", 1e-4, 1e-2, log=True)),
        ("learning-rate = 1 .. 2", Range("learning_rate", 1.0, 2.0)),
        ("latent_dim=8..64", Range("latent_dim", 8, 64)),
        ("variance=0.1..1", Range("variance", 0.1, 1.0)),
        ("variance=optimal,0.5", Choices("variance", ("optimal", 0.5))),
        ("latent_dim=8,16", Choices("latent_dim", (8, 16))),
        ("network=conv,resnet", Choices("network", ("conv", "resnet"))),
        ("flip=no,yes", Choices("flip", (False, True))),
        ("hidden_units=64,64/128", Choices("hidden_units", UNITS)),
    ],
)
def test_a_text_is_a_range_or_a_choice_of_typed_values(text, found):
    (one,) = space.read([text], {})
    assert one == found
    assert [*map(type, one.corners)] == [*map(type, found.corners)]
    assert space.read([f"{one.name}={one}"], {}) == (found,)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([], ["--search", "LOW..HIGH", "none is given"]),
        (["latent_dim"], ["NAME=VALUE", "'latent_dim'"]),
        (["=1,2"], ["NAME=VALUE", "'=1,2'"]),
        (["latent_dim="], ["NAME=VALUE", "'latent_dim='"]),
        (["latent_dm=1,2"], ["'latent_dm'", "did you mean latent_dim?"]),
        (["learning_rate=1e-2..1e-4"], ["learning_rate", "low end", "1e-2..1e-4"]),
        (["learning_rate=1..1"], ["low end", "1..1"]),
        (["learning_rate=1e-4..50"], ["from 1e-12 to 10", "'50'"]),
        (["learning_rate=1e-4..1e-2:lin"], ["HIGH:log", "1e-2:lin"]),
        (["learning_rate=1e-4...1e-2"], ["LOW..HIGH", "1e-4...1e-2"]),
        (["latent_dim=0..8:log"], ["above 0", "0..8:log"]),
        (["latent_dim=8,16:log"], ["a range", "8,16:log"]),
        (["latent_dim=8..16.5"], ["a whole number", "16.5"]),
        (["latent_dim=8"], ["two values", "--latent-dim", "'8'"]),
        (["latent_dim=8,16,8"], ["8 stands there twice"]),
        (["latent_dim=8,-1"], ["at least 0", "-1"]),
        (["network=mlp..conv"], ["options that are numbers", "mlp..conv"]),
        (["network=mlp,cnov"], ["mlp, conv", "'cnov'", "did you mean conv?"]),
        (["flip=yes,maybe"], ["yes,no", "'maybe'"]),
        (["hidden_units=64,64,128"], ["'/' between", "64,64,128"]),
        (["latent_dim=8,16", "latent-dim=8..16"], ["latent_dim", "twice", "8,16", "8..16"]),
        (["batch_size=32,64"], ["either searched or fixed", "32,64", "--batch-size 16"]),
        (["seed=1,2"], ["luck", "--seed fixes it"]),
        (["save=a,b"], ["what is written where"]),
        (["name=a,b"], ["what is written where"]),
        (["backend=jax,torch"], ["one backend"]),
        (["devices=1,2"], ["no figure", "--devices"]),
        (["init_from=a,b"], ["valid split"]),
        (["dataset=gmm,digits"], ["different data"]),
        (["image_size=32,64"], ["different data"]),
        (["gmm_seed=1..9"], ["different data"]),
        (["sampler=none,flow"], ["after training"]),
    ],
)
def test_what_cannot_be_searched_is_refused(texts, words):
    with pytest.raises(UsageError) as refused:
        space.read(texts, {"batch_size": "16"})
    for word in words:
        assert word in str(refused.value)


def test_a_wide_range_on_an_even_scale_is_told_of_the_other():
    hints = [space.read([f"learning_rate={text}"], {})[0].hint for text in ("1e-4..1e-2", "1..2")]
    assert "0.0001..0.01:log" in hints[0]
    assert not hints[1]


@pytest.mark.parametrize(
    ("one", "value", "holds"),
    [
        (Range("x", 1, 3), 3, True),
        (Range("x", 1, 3), 4, False),
        (Range("x", 1, 3), True, False),
        (Range("x", 1.0, 3.0), 2, True),
        (Range("x", 1.0, 3.0), "full", False),
        (Choices("x", (1, 2)), True, False),
        (Choices("x", UNITS), (128,), True),
    ],
)
def test_values_are_held_by_number_and_type(one, value, holds):
    assert one.holds(value) is holds
