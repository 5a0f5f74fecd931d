"""Do edits of drawn faces change what they should, and that alone? A classifier is the judge.

python benchmarks/faces_edits.py --model saved/faces [--strengths 1 2] [--output rows.json]

The judge is a small convolutional classifier of all attributes, trained on drawn faces of another
seed than the model's; its balanced accuracy on the model's test faces stands beside each attribute.
Test faces that lack an attribute are edited through the signature `edit`, those that have it with
the strength negated, and the judge looks at the original, at the plain reconstruction (strength 0)
and at the edits:

- has: of the reconstructions of faces that have the attribute, the share where the judge sees it:
  what the decoder shows at all.
- seen: of the faces that lack it, the share where the judge sees it; at strength 0 by mistake.
- gone: of the faces that have it, the share where the judge does not see it, the strength being
  negated; at strength 0 what the decoder does not show.
- others stay: the share of the judge's answers about other attributes that are as on the original;
  at strength 0 what reconstruction alone leaves. They are those that the judge knows (a balanced
  accuracy of 0.8 or more) and that are independent: a phi coefficient of at most 0.1 in size among
  the labels of the train split, which leaves out what excludes or implies the attribute (other
  colours of hair, no beard beside a moustache).

The last lines are means over the attributes that the judge knows.
"""

import argparse
import json
import os
import statistics
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

LARGEST_PHI = 0.1
KNOWN = 0.8  # balanced accuracy from which the judge knows an attribute
FILTERS = (24, 48, 96)
FIRST_PIXELS = 32  # the width of the judge's first map


def attribute_names(split):
    """The bool labels of a split."""
    return [name for name, values in split.labels.items() if values.dtype == bool]


def labels_of(split, names):
    """Bool `(rows, attributes)`."""
    return np.stack([split.labels[name] for name in names], axis=1)


class Judge:
    """A classifier of attributes.

    Args:
        faces: a `kvae.data.Dataset` of drawn faces.
        epochs: over its train split.
        seed: of the weights and the order.
    """

    def __init__(self, faces, epochs, seed):
        import keras

        self.names = attribute_names(faces.train)
        keras.utils.set_random_seed(seed)
        layers = keras.layers
        inputs = x = keras.Input(faces.train.x.shape[1:])
        x = layers.Rescaling(2.0, -1.0)(x)
        stride = max(1, faces.train.x.shape[1] // FIRST_PIXELS)
        for filters in FILTERS:
            x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
            x = layers.MaxPooling2D()(x)
            stride = 1
        x = layers.Dropout(0.2)(layers.Flatten()(x))
        self._model = keras.Model(inputs, layers.Dense(len(self.names))(x))
        steps = epochs * faces.train.steps(128)
        self._model.compile(
            keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)),
            keras.losses.BinaryCrossentropy(from_logits=True),
        )
        x = faces.train.x.astype(np.float32) / np.float32(255)
        labels = labels_of(faces.train, self.names).astype(np.float32)
        self._model.fit(x, labels, batch_size=128, epochs=epochs, verbose=2)

    def answers(self, images):
        """What it sees, bool `(rows, attributes)`.

        Args:
            images: float32 in [0, 1]; what is outside is clipped.
        """
        return self._model.predict(np.clip(images, 0, 1), batch_size=250, verbose=0) > 0


def balanced_accuracy(answers, labels):
    """Mean of the shares of positives and negatives that are told, for each column."""
    return 0.5 * (share(answers, labels) + share(~answers, ~labels))


def share(answers, rows):
    """Of the marked rows, the share of true answers, for each column."""
    return (answers & rows).sum(0) / np.maximum(rows.sum(0), 1)


def independent_of(labels):
    """Whether two attributes hardly depend on one another, bool `(attributes, attributes)`."""
    with np.errstate(invalid="ignore"):  # a label that never changes tells nothing of others
        phi = np.corrcoef(labels.T.astype(np.float64))
    return ~(np.abs(phi) > LARGEST_PHI) & ~np.eye(len(phi), dtype=bool)


def measure(edit, judge, faces, edited_names, strengths, num_faces):
    """Give faces an attribute that they lack and take it from others; a row for each attribute.

    Args:
        edit: `(x, attribute_strength) -> images`.
        judge: a `Judge` of the attributes.
        faces: the model's `Dataset`.
        edited_names: what the columns of `attribute_strength` are.
        strengths: to edit with.
        num_faces: faces that lack an attribute, and faces that have it, at most.

    Yields:
        dict of an attribute: shares, by strength where a dict, `others_stay_gone` beside `gone`.

    Raises:
        SystemExit: the judge knows no other attribute to watch.
    """
    labels = labels_of(faces.test, judge.names)
    x = faces.test.x.astype(np.float32) / np.float32(255)
    independent = independent_of(labels_of(faces.train, judge.names))
    on_original = judge.answers(x)
    accuracy = balanced_accuracy(on_original, labels)
    on_plain = judge.answers(edit(x, np.zeros((len(x), len(edited_names)), np.float32)))
    has = share(on_plain, labels)
    for column, name in enumerate(edited_names):
        if name not in judge.names:
            continue
        place = judge.names.index(name)
        others = independent[place] & (accuracy >= KNOWN)
        if not others.any():
            raise SystemExit(
                f"the judge knows no attribute that is independent of {name} (balanced accuracy "
                f"{KNOWN} or more): train it longer (--judge-count, --judge-epochs)"
            )
        sees, stay, faces_of = {}, {}, {}
        for sign in (1, -1):
            rows = np.flatnonzero(labels[:, place] == (sign < 0))[:num_faces]
            found = {0.0: on_plain[rows]}
            for strength in strengths:
                wanted = np.zeros((len(rows), len(edited_names)), np.float32)
                wanted[:, column] = sign * strength
                found[strength] = judge.answers(edit(x[rows], wanted))
            faces_of[sign] = len(rows)
            sees[sign] = {key: float(value[:, place].mean()) for key, value in found.items()}
            stay[sign] = {
                key: float((value == on_original[rows])[:, others].mean())
                for key, value in found.items()
            }
        yield {
            "attribute": name,
            "judge_balanced_accuracy": float(accuracy[place]),
            "faces": faces_of[1],
            "has": float(has[place]),
            "seen": sees[1],
            "others_stay": stay[1],
            "faces_gone": faces_of[-1],
            "gone": {key: 1.0 - value for key, value in sees[-1].items()},
            "others_stay_gone": stay[-1],
        }


def header(strengths):
    """The two lines above the table."""
    levels = "".join(f"{strength:7g}" for strength in (0.0, *strengths))
    names = f"{'':20}{'judge':>6}{'has':>7}"
    width = len(levels)
    above = f"{'':{len(names)}}"
    below = names
    for title in ("seen at", "gone at minus"):
        above += f" | {'':6}{title:>{width}}{'others stay':>{width}}"
        below += f" | {'faces':>6}{levels}{levels}"
    return f"{above}\n{below}"


def line_of(row):
    """One attribute's line of the table."""
    line = f"{row['attribute']:20}{row['judge_balanced_accuracy']:6.3f}{row['has']:7.1%}"
    for faces, *keys in (
        ("faces", "seen", "others_stay"), ("faces_gone", "gone", "others_stay_gone")
    ):  # fmt: skip
        shares = "".join(f"{value:7.1%}" for key in keys for value in row[key].values())
        line += f" | {row[faces]:6d}{shares}"
    return line


def summary(rows, strengths):
    """Means over the rows of attributes that the judge knows."""
    known = [row for row in rows if row["judge_balanced_accuracy"] >= KNOWN]
    if not known:
        return "the judge knows none of them"
    lines = [f"means over the {len(known)} attributes that the judge knows (from {KNOWN}):"]
    for strength in (0.0, *strengths):
        seen, stay, gone, stay_gone = (
            statistics.fmean(row[key][strength] for row in known)
            for key in ("seen", "others_stay", "gone", "others_stay_gone")
        )
        lines.append(
            f"strength {strength:4g}  seen {seen:6.1%}  others stay {stay:6.1%}   "
            f"negated: gone {gone:6.1%}  others stay {stay_gone:6.1%}"
        )
    return "\n".join(lines)


def main():
    """Train the judge, edit, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a model of drawn faces, as saved/faces")
    parser.add_argument("--strengths", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--faces", type=int, default=200, help="of each kind, at most")
    parser.add_argument("--judge-count", type=int, default=20_000, help="faces to train the judge")
    parser.add_argument("--judge-epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0, help="of the judge's weights")
    parser.add_argument("--output", help="write the rows to this JSON file")
    arguments = parser.parse_args()

    from kvae import data
    from kvae.serving.served import ServedModel
    from kvae.serving.versions import find_version

    served = ServedModel(find_version(arguments.model))
    config = served.metadata["config"]
    if config.get("condition"):
        parser.error("a conditional model has conditions in place of edits")
    if config["dataset"] != "faces" or "directions" not in served.metadata:
        parser.error(f"{served.version.path} is not a model of drawn faces with directions")
    options = {name: config[name] for name in data.options_of("faces")}
    faces = data.load("faces", **options)
    options |= {"faces_seed": config["faces_seed"] + 1, "faces_count": arguments.judge_count}
    judge = Judge(data.load("faces", **options), arguments.judge_epochs, arguments.seed)

    def edit(x, strengths):
        return served.call("edit", x=x, attribute_strength=strengths)["edited"]

    names = served.metadata["directions"]["names"]
    print(header(arguments.strengths), flush=True)
    rows = []
    for row in measure(edit, judge, faces, names, arguments.strengths, arguments.faces):
        rows.append(row)
        print(line_of(row), flush=True)
    print(summary(rows, arguments.strengths))
    if arguments.output:
        Path(arguments.output).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
