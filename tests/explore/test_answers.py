"""What the explorer computes is what the signatures say."""

import io

import numpy as np
import pytest
from kvae_testing import few_signatures, make_vae
from PIL import Image
from serving_testing import rest_server

from kvae import publish
from kvae.client import Client
from kvae.data.images.decoding import Unreadable, decode
from kvae.errors import UsageError
from kvae.explore.answers import Answers, Rows
from kvae.explore.maps import map_of
from kvae.serving.versions import read_metadata

CONDITION = {"labels": ["kind", "old"], "names": ["kind=a", "kind=b", "old"],
             "label_of": ["kind", "kind", "old"]}  # fmt: skip


@pytest.fixture(scope="module")
def answers(version_of_images):
    x = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1)).astype(np.uint8)
    client = Client(version_of_images.path)
    return Answers(client, read_metadata(version_of_images), Rows(x, "train"))


def test_a_seed_is_decoded_to_its_sample(answers):
    latent = answers.sample(7)
    drawn = answers._client.call("generate", seed=[7])
    np.testing.assert_allclose(answers.decoded(latent), drawn["sample"][0], rtol=1e-4, atol=1e-5)


def test_attributes_move_as_the_signature_edit_does(answers):
    x = answers.rows.x[0]
    assert answers.attributes == {"Smiling": 0.9, "Male": 0.8}
    moved = answers.moved(answers.encoded(x), {}, [0.5, -1.0])
    edited = answers._client.call("edit", x=x[None], attribute_strength=[[0.5, -1.0]])["edited"]
    np.testing.assert_allclose(answers.decoded(moved), edited[0], rtol=1e-4, atol=1e-5)


def test_a_slider_sets_its_dimension_and_no_other(answers):
    latent = answers.sample(1)
    moved = answers.moved(latent, {1: -2.0})
    assert moved[0] == latent[0]
    assert answers.positions(moved)[1] == pytest.approx(-2.0, abs=1e-5)


def test_the_busiest_dimension_is_first(answers):
    found = answers.latents
    assert sorted(found.dims) == [0, 1]
    assert found.carries[found.dims[0]] >= found.carries[found.dims[1]]


def test_a_line_begins_and_ends_at_its_ends(answers):
    start, end = answers.sample(1), answers.sample(2)
    line = answers.between(start, end, 5)
    np.testing.assert_allclose(line[[0, -1]], answers.decoded(np.stack([start, end])), rtol=1e-5)


def test_a_row_is_its_own_nearest_neighbour(answers):
    found, distances = answers.neighbours(answers.rows.x[3] / np.float32(255), 3)
    np.testing.assert_array_equal(found[0], answers.rows.x[3])
    assert distances[0] == pytest.approx(0, abs=1e-3)
    assert (np.diff(distances) >= 0).all() and distances[1] > 0.1


@pytest.fixture(scope="module")
def photo():
    """A PNG file, half of it see-through."""
    levels = np.random.default_rng(1).integers(0, 256, (30, 20, 4), np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    return file.getvalue()


def test_an_upload_is_read_as_training_reads_files(answers, photo):
    pixels = decode(photo, "center", 8, 1)
    expected = answers._client.call("encode", x=pixels[None])["mean"][0]
    np.testing.assert_allclose(answers.encoded(photo), expected, rtol=1e-5)
    assert answers.as_image(answers.decoded(expected)).dtype == np.uint8
    crop, made = {"crop": "2,3,12,13"}, {"binarize": "dynamic"}
    for card, options in ((crop, {}), (made, {"binarize": True})):
        found = Answers(answers._client, {"data_card": card}, answers.rows)
        pixels = decode(photo, card.get("crop", "center"), 8, 1, **options)
        expected = answers._client.call("encode", x=pixels[None])["mean"][0]
        np.testing.assert_allclose(found.encoded(photo), expected, rtol=1e-5)
    with pytest.raises(Unreadable, match="is not an image of a known format"):
        answers.encoded(b"GIF")


def test_a_server_is_a_model_as_a_folder_is(answers, version_of_images, photo):
    with rest_server("m", version_of_images.path) as (address, _), Client(address, "m") as client:
        alone, told = Answers(client, {}), Answers(client, answers._metadata, answers.rows)
        latent = answers.sample(5)
        for one in (alone, told):
            np.testing.assert_allclose(one.sample(5), latent, rtol=1e-5)
            np.testing.assert_allclose(
                one.decoded(latent), answers.decoded(latent), rtol=1e-5, atol=1e-6
            )
        assert alone.rows.split == "generated"
        np.testing.assert_allclose(told.encoded(photo), answers.encoded(photo), rtol=1e-5)
        # Without a description the server crops; it rounds otherwise by a level at most.
        np.testing.assert_allclose(alone.encoded(photo), answers.encoded(photo), atol=0.02)


def test_a_point_of_the_map_gives_the_latent_of_its_row(answers):
    places = map_of(answers.posterior[0]).places
    found = answers.near_on_map(places[4], places)
    np.testing.assert_allclose(found, answers.posterior[0][4], rtol=1e-3, atol=1e-4)


def test_without_data_and_without_a_description_samples_stand_for_rows(version_of_images):
    found = Answers(Client(version_of_images.path), {})
    assert found.rows.split == "generated" and found.rows.x.shape == (200, 8, 8, 1)
    assert found.attributes == {} and found.condition_names == []
    assert np.isfinite(found.latents.carries).all()


def test_a_conditional_model_of_vectors_is_asked_under_what_is_chosen(tmp_path):
    vae = make_vae((2,), condition_dim=3)
    with few_signatures("encode", "decode", "generate"):
        version = publish.publish(
            vae, tmp_path, "v", config={}, card={"columns": ["height", "weight"]}, history={},
            condition=CONDITION,
        )  # fmt: skip
    found = Answers(Client(version.path), read_metadata(version))
    assert found.columns == ["height", "weight"]
    assert found.condition_names == [("kind", ["kind=a", "kind=b"]), ("old", ["old"])]
    a, b = (found.condition_of([f"kind={name}", True]) for name in "ab")
    np.testing.assert_array_equal(a, [1, 0, 1])
    latent = found.sample(3, a)
    assert not np.allclose(found.decoded(latent, a), found.decoded(latent, b))
    assert found.rows.condition.shape == (200, 3)


def test_what_is_no_version_is_refused(version_of_images):
    client = Client(version_of_images.path)
    client._signatures = {"encode": client.signatures["encode"]}
    with pytest.raises(UsageError, match="no signature decode, generate"):
        Answers(client, {})
