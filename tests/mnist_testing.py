"""Small copies in every layout that MNIST comes in: scikit-learn's digits, made 28x28."""

import gzip

import numpy as np

USUAL = {"train": "train", "test": "t10k"}
COUNTS = {"train": 240, "test": 50}


def stand_in(counts=COUNTS):
    """Split -> images `(n, 28, 28)` and labels `(n,)`, uint8: digits, each pixel 3x3 times."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = np.rint(bunch.images * (255 / 16)).astype(np.uint8).repeat(3, axis=1).repeat(3, axis=2)
    x, y = np.pad(x, ((0, 0), (2, 2), (2, 2))), bunch.target.astype(np.uint8)
    found, start = {}, 0
    for split, count in counts.items():
        found[split] = (x[start : start + count], y[start : start + count])
        start += count
    return found


def idx(array):
    """An array of bytes in the idx format."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write_idx(folder, found=None, name="{split}-{kind}-idx{dims}-ubyte", zipped=False):
    """The four files; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, arrays in (found or stand_in()).items():
        for kind, array in zip(("images", "labels"), arrays, strict=True):
            file = name.format(split=USUAL[split], kind=kind, dims=array.ndim)
            content = idx(array)
            if zipped:
                file, content = f"{file}.gz", gzip.compress(content)
            (folder / file).write_bytes(content)
    return folder


def write_npz(path, found=None):
    """Keras's archive; its path."""
    arrays = {}
    for split, (x, y) in (found or stand_in()).items():
        arrays |= {f"x_{split}": x, f"y_{split}": y}
    np.savez(path, **arrays)
    return path


def write_csv(path, x, y, header=""):
    """A table of a label and 784 pixels a line; its path."""
    rows = np.column_stack([y, x.reshape(len(x), -1)])
    np.savetxt(path, rows, "%d", ",", header=header, comments="")
    return path


def write_prepared(folder, name, found=None):
    """What TensorFlow Datasets writes, its rows in another order; the version's folder."""
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict({
        "image": tfds.features.Image(shape=(28, 28, 1)),
        "label": tfds.features.ClassLabel(num_classes=10),
    })  # fmt: skip
    version = folder / name / "3.0.1"
    version.mkdir(parents=True)
    identity = tfds.core.dataset_info.DatasetIdentity(name, "3.0.1", str(version), "")
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=100)
    for split, (x, y) in (found or stand_in()).items():
        writer.initialize_splits([split])
        rows = zip(x[::-1], y[::-1], strict=True)
        writer.add_examples({split: [{"image": a[..., None], "label": int(b)} for a, b in rows]})
    writer.close_all()
    return version
