"""The same rows in every kind of source."""

import io
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from PIL import Image


def png_files(count, seed=0):
    """PNG files of photos of several sizes."""
    rng = np.random.default_rng(seed)
    files = []
    for _ in range(count):
        height, width = rng.integers(9, 30, 2)
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(file, "PNG")
        files.append(file.getvalue())
    return files


def write_images(path, files):
    """A folder, or a zip, with the files 0000.png, 0001.png, ..."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for index, content in enumerate(files):
                archive.writestr(f"{index:04}.png", content)
        return
    path.mkdir()
    for index, content in enumerate(files):
        (path / f"{index:04}.png").write_bytes(content)


def write_parquet(path, columns, row_group_size=7):
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)


def write_tfrecord(path, features):
    """Features: name -> list of bytes or of lists of numbers."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for values in zip(*features.values(), strict=True):
            feature = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                if isinstance(value, bytes)
                else tf.train.Feature(float_list=tf.train.FloatList(value=value))
                for name, value in zip(features, values, strict=True)
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())
