"""Runs that nobody interrupted, and one that was."""

import shutil
from contextlib import contextmanager
from unittest import mock

import pytest
from keeping_testing import IMAGES, VECTORS, Cut, config_of
from kvae_testing import few_signatures, small_mixtures

from kvae.training import run
from kvae.training.keeping import saving


@contextmanager
def _small():
    with few_signatures("encode"), small_mixtures():
        yield


@pytest.fixture(autouse=True)
def _quick():
    with _small():
        yield


@pytest.fixture
def _often():
    """A checkpoint at the end of each call."""
    with mock.patch.multiple(saving, SECONDS_BETWEEN=0.0, _SHARE=1e9):
        yield


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Runs that nobody interrupted: name of the dataset -> folder."""
    folder = tmp_path_factory.mktemp("whole")
    with _small():
        for given in (VECTORS, IMAGES):
            run.train(config_of(folder, given))
    return folder


@pytest.fixture(scope="session")
def interrupted(tmp_path_factory):
    """A folder with a run that ended in its third epoch of four."""
    folder = tmp_path_factory.mktemp("interrupted")
    often = mock.patch.multiple(saving, SECONDS_BETWEEN=0.0, _SHARE=1e9)
    with _small(), often, pytest.raises(SystemError):
        run.train_and_publish(config_of(folder, VECTORS), callbacks=[Cut(3)])
    return folder


@pytest.fixture
def cut(interrupted, tmp_path):
    """A copy of it: the folder of checkpoints, and the options of the run."""
    shutil.copytree(interrupted, tmp_path, dirs_exist_ok=True)
    return tmp_path / "gmm" / "training", config_of(tmp_path, VECTORS)
