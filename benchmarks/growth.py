"""Time and memory against the number of rows: tables and images, loaded and trained for an epoch.

    python benchmarks/growth.py [--rows 1000 10000 ... 10000000] [--sources arrays npy csv parquet]
        [--images 1000 10000 100000] [--image-size 16] [--folder DIR] [--json FILE] [--plot FILE]
    python benchmarks/growth.py --neighbours 1000 10000 50000 [--features 64]

Rows are vectors of --columns numbers of a mixture of Gaussians; images are a folder of PNG files.
Each cell is a process of its own, which comes in by the door that users have: `train.py --dataset
arrays --data-dir FILE --epochs 1 --sampler none`, `kvae.train(kvae.Dataset.from_arrays(x))` for
"arrays", and `train.py --dataset folder` for images, whose cache is made by the run. Shown: seconds
of wall and of processor time (user and system, all threads), the most resident memory, and what
that is above the fewest rows, over the bytes of the data as float32 (of images uint8); with --load
of loading alone. The exponent is that of processor time against rows, least squares of the
logarithms over the upper half of the sizes: 1 is linear. --dry-run adds the memory that `train.py
--dry-run` says. With --neighbours a cell is `manifold_metrics` of two sets.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("arrays", "npy", "csv", "parquet")
PART = 100_000  # rows that are made at a time
ARRAYS = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, kvae
dataset = kvae.Dataset.from_arrays(np.load(sys.argv[2]))
if sys.argv[3] != "load":
    kvae.train(dataset, output=sys.argv[3], name="growth", epochs=1, sampler="none")
"""
LOAD = """
import sys
sys.path.insert(0, sys.argv[1])
from kvae import data
data.load(sys.argv[2], **eval(sys.argv[3]))
"""
NEIGHBOURS = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from kvae.metrics.neighbours import manifold_metrics
count, d = map(int, sys.argv[2:])
rng = np.random.default_rng(0)
real, fake = (rng.standard_normal((count, d), "f4") for _ in range(2))
manifold_metrics(real, fake)
"""


def parts(rows, columns):
    """Vectors of a mixture of Gaussians, some rows at a time."""
    rng = np.random.default_rng(0)
    means = 3 * rng.standard_normal((10, columns))
    for start in range(0, rows, PART):
        count = min(PART, rows - start)
        yield (means[rng.integers(10, size=count)] + rng.standard_normal((count, columns))).astype(
            np.float32
        )


def write_table(path, rows, columns):
    """A file of such vectors; beside the arrays of one part nothing is in memory."""
    if path.suffix == ".npy":
        found = np.lib.format.open_memmap(path, "w+", np.float32, (rows, columns))
        at = 0
        for part in parts(rows, columns):
            found[at : at + len(part)] = part
            at += len(part)
        found.flush()
    elif path.suffix == ".csv":
        with path.open("w") as file:
            file.write(",".join(f"x{i}" for i in range(columns)) + "\n")
            for part in parts(rows, columns):
                np.savetxt(file, part, "%.7g", ",")
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([(f"x{i}", pa.float32()) for i in range(columns)])
        with pq.ParquetWriter(path, schema) as writer:
            for part in parts(rows, columns):
                writer.write_table(pa.table([*part.T], schema=schema))


def write_images(folder, count, size):
    """PNG files of random gradients, a thousand in a folder."""
    from PIL import Image

    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, size)
    for number in range(count):
        own = folder / f"{number // 1000:05}"
        if not number % 1000:
            own.mkdir(parents=True)
        a, b, c = rng.uniform(0, 255, (3, 3))
        image = (a + (b - a) * ramp[:, None, None] + (c - a) * ramp[None, :, None]).clip(0, 255)
        Image.fromarray(image.astype(np.uint8)).save(own / f"{number}.png")


def measured(words):
    """Seconds of wall and of processor time, the most resident bytes, and what was printed."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen(words, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if child.returncode:
        raise SystemExit(f"{' '.join(map(str, words))[:500]}\n{text[-3000:]}")
    wall = time.perf_counter() - began
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, text


def words_of(source, path, given, folder):
    """The command of a cell."""
    if source == "arrays":
        target = "load" if given.load else str(folder / "saved")
        return [sys.executable, "-c", ARRAYS, str(ROOT), str(path), target]
    own = {"data_dir": str(path)}
    if source == "images":
        own |= {"image_size": given.image_size, "cache_dir": str(folder / "cache")}
    name = "folder" if source == "images" else "arrays"
    if given.load:
        return [sys.executable, "-c", LOAD, str(ROOT), name, repr(own)]
    words = [sys.executable, "train.py", "--dataset", name, "--epochs", "1", "--sampler", "none"]
    for option, value in own.items():
        words += [f"--{option.replace('_', '-')}", str(value)]
    return [*words, "--save", str(folder / "saved"), *given.train]


def cell(source, rows, given, folder):
    """Make the data, measure, remove them."""
    own = {"source": source, "rows": rows}
    if source == "neighbours":
        words = [sys.executable, "-c", NEIGHBOURS, str(ROOT), str(rows), str(given.features)]
        own["bytes"] = 2 * rows * given.features * 4
        own["wall_s"], own["processor_s"], own["peak"], _ = measured(words)
        return own
    if source == "images":
        path = folder / "images"
        write_images(path, rows, given.image_size)
        own["bytes"] = rows * given.image_size**2 * 3
    else:
        path = folder / f"table.{'npy' if source == 'arrays' else source}"
        write_table(path, rows, given.columns)
        own |= {"bytes": rows * given.columns * 4, "file_bytes": path.stat().st_size}
    words = words_of(source, path, given, folder)
    own["wall_s"], own["processor_s"], own["peak"], _ = measured(words)
    if given.dry_run and source != "arrays" and not given.load:
        text = measured([*words, "--dry-run"])[3]
        said = re.search(r"takes about ([\d.,]+) GB", text)
        own["dry_run_gb"] = float(said[1].replace(",", "")) if said else None
    return own


def exponent(found):
    """Of processor time against rows, over the upper half of the sizes."""
    found = found[len(found) // 2 - (len(found) == 2) :] if len(found) > 1 else []
    if len(found) < 2:
        return None
    x, y = (np.log([one[key] for one in found]) for key in ("rows", "processor_s"))
    return float(np.polyfit(x, y, 1)[0])


def show(one, least):
    """Print a cell, and add what it takes above the fewest rows."""
    above = one["peak"] - least["peak"]
    if one is not least:
        one["times_data"] = above / (one["bytes"] - least["bytes"])
    dry = f"{one['dry_run_gb']:>11}" if one.get("dry_run_gb") else f"{'':11}"
    times = f"{one['times_data']:8.2f}" if "times_data" in one else f"{'':8}"
    print(
        f"{one['source']:11}{one['rows']:>11,}{one['bytes'] / 1e6:10.1f}{one['wall_s']:9.1f}"
        f"{one['processor_s']:9.1f}{one['peak'] / 1e9:9.2f}{times}{dry}",
        flush=True,
    )


def plot(found, path):
    """Time and memory against rows, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib import ticker

    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    for source, cells in found.items():
        rows = [one["rows"] for one in cells]
        axes[0].loglog(rows, [one["processor_s"] for one in cells], "o-", label=source)
        axes[1].loglog(rows, [one["peak"] / 1e9 for one in cells], "o-", label=source)
    for axis, name in zip(axes, ("processor time, s", "peak of memory, GB"), strict=True):
        axis.set_xlabel("rows")
        for one in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
            one(ticker.FormatStrFormatter("%g"))
        axis.set_ylabel(name)
        axis.legend()
    figure.tight_layout()
    figure.savefig(path)


def main():
    """Measure every cell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="*", default=[10**i for i in range(3, 8)])
    parser.add_argument("--columns", type=int, default=16)
    parser.add_argument("--sources", nargs="*", choices=SOURCES, default=[*SOURCES])
    parser.add_argument("--images", type=int, nargs="*", default=[])
    parser.add_argument("--image-size", type=int, default=16)
    parser.add_argument("--neighbours", type=int, nargs="*", default=[])
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--load", action="store_true", help="load alone, without an epoch")
    parser.add_argument("--dry-run", action="store_true", help="also what --dry-run says")
    parser.add_argument("--train", type=shlex.split, default=[], help="further words of train.py")
    parser.add_argument("--folder", help="where data are made (default: a temporary folder)")
    parser.add_argument("--json")
    parser.add_argument("--plot")
    given = parser.parse_args()
    wanted = {source: given.rows for source in given.sources if given.rows}
    wanted |= {"images": given.images} if given.images else {}
    wanted = {"neighbours": given.neighbours} if given.neighbours else wanted
    print(f"{'source':11}{'rows':>11}   data MB   wall s   proc s  peak GB  x data  dry-run GB")
    found = {}
    for source, sizes in wanted.items():
        cells = found[source] = []
        for rows in sorted(sizes):
            with tempfile.TemporaryDirectory(dir=given.folder) as folder:
                cells.append(cell(source, rows, given, Path(folder)))
            show(cells[-1], cells[0])
        if (slope := exponent(cells)) is not None:
            print(f"{source}: processor time grows as rows to the power {slope:.2f}")
    if given.json:
        Path(given.json).write_text(json.dumps(found, indent=1))
    if given.plot:
        plot(found, given.plot)


if __name__ == "__main__":
    main()
