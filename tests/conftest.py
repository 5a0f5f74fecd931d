"""Shared by all tests: quiet TensorFlow on the CPU, and small models to look at."""

import gc
import os
import shutil
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# `import kvae` switches it on, before Keras is imported: many small graphs are made sooner without.
# tests/networks/test_onednn.py has it.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# The user's own cache must neither help nor suffer.
os.environ["KVAE_CACHE_DIR"] = tempfile.mkdtemp(prefix="kvae-tests-")

import keras
import numpy as np
import pytest
import tensorflow as tf
from kvae_testing import all_signatures, make_vae

# Grappler costs more than it gains: most graphs are small and run once. What users run has it in
# `optimized_graphs`, in every child process, and in sessions, as servers load versions.
_PLAIN = {"disable_meta_optimizer": True}
tf.config.optimizer.set_experimental_options(_PLAIN)

_set_seed, _seeds = tf.random.set_seed, []


def _set_other_seed(seed):
    """Seed TensorFlow's own generator where the seed is another than before.

    With it TensorFlow forgets every kernel that it has made: to make them again after every
    `keras.utils.set_random_seed(0)` takes a third of the time of the tests, of which none draws
    from that generator.
    """
    if _seeds != [seed]:
        _seeds[:] = [seed]
        _set_seed(seed)


tf.random.set_seed = _set_other_seed


def pytest_collection_finish():
    """The collector need not look at thousands of tests and modules at every graph that is made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture
def optimized_graphs():
    """TensorFlow's own way with graphs, for tests of what it might change."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    yield
    tf.config.optimizer.set_experimental_options(_PLAIN)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests():
    yield
    shutil.rmtree(os.environ["KVAE_CACHE_DIR"], ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _figures_in_this_process():
    """A process for the figures of every evaluation would cost a second each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kvae.figures.processes.MAX_PROCESSES", 0)
        yield


@pytest.fixture(scope="module", autouse=True)
def _collector():
    """What one module leaves for good, its graphs above all, is not looked at from the next on."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def ppca():
    """Probabilistic PCA as a VAE, its posterior exact."""
    from kvae_testing import Ppca

    return Ppca()


@pytest.fixture(scope="session", params=["diagonal", "full"])
def any_ppca(request):
    """The same, with a diagonal and with a full posterior and noise."""
    from kvae_testing import Ppca

    return Ppca(full=request.param == "full")


@pytest.fixture(scope="session")
def small_vae():
    """A VAE of 2-D vectors with every learned kind of part; untrained."""
    return make_vae((2,), prior="mixture", variance="full", posterior="full")


@pytest.fixture(scope="session")
def of_images():
    """A model of small grey images, and attributes to edit."""
    from kvae.directions import Directions

    vectors = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)
    directions = Directions(("Smiling", "Male"), vectors, np.array([0.9, 0.8]), ((), ()), ())
    return make_vae((8, 8, 1)), directions


@pytest.fixture(scope="session")
def version_of_images(of_images, tmp_path_factory):
    """That model with all signatures, published once for all workers; to be copied, not changed."""
    from kvae import files, publish
    from kvae.serving import versions

    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    vae, directions = of_images
    with files.alone(folder / "shared.lock"):
        found = versions.versions(folder / "shared" / "m")
        if found:
            return found[0]
        with all_signatures():
            return publish.publish(
                vae, folder / "shared", "m", config={}, card={}, history={}, directions=directions
            )
