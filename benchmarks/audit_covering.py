"""Trains a model of each part for a few epochs, audits it, and prints what differs most.

    python benchmarks/audit_covering.py [--epochs N] [--models 0 1 2 ...]

Twelve models: all pairs of a network and a likelihood, and each prior, posterior, objective and
sampler at least twice. Gaussian models of `mlp` are of the mixture, the others of handwritten
digits (of two levels for Bernoulli) or drawn faces; one is conditional. Each is trained and audited
by the programs themselves, on all test rows that the audit looks at.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
NETWORKS = "mlp", "conv", "conv-large", "resnet"
LIKELIHOODS = "gaussian", "discretized-logistic", "bernoulli"
PRIORS = "standard_normal", "mixture", "vamp", "flow"
SAMPLERS = "none", "mixture", "flow", "second-stage"
FACES = "--dataset faces --faces-count 400 --image-size 32"
DATA = {
    ("mlp", "gaussian"): "--dataset gmm --variance full --latent-dim 3",
    ("conv", "gaussian"): f"{FACES} --variance per-channel --condition Eyeglasses",
    ("conv-large", "gaussian"): f"{FACES} --variance full",
    ("resnet", "gaussian"): f"{FACES} --variance heteroscedastic",
}


def model(number: int) -> tuple[str, list[str]]:
    """A model's parts for the table, and its options."""
    network, likelihood = NETWORKS[number % 4], LIKELIHOODS[number % 3]
    # Each four models have each prior and sampler once, beside another network.
    prior, sampler = PRIORS[(number + number // 4) % 4], SAMPLERS[(number + 2 * (number // 4)) % 4]
    if (network, prior) == ("conv-large", "vamp"):  # refused: it normalises by batch
        prior = "mixture"
    posterior = "full" if number // 2 % 2 else "diagonal"
    objective = "iwae" if number % 5 in (1, 3) else "elbo"
    data = DATA.get((network, likelihood), "--dataset digits --latent-dim 4")
    if likelihood == "bernoulli":
        data += " --binarize threshold"
    parts = network, likelihood, prior, posterior, objective, sampler
    names = "network", "likelihood", "prior", "posterior", "objective", "sampler"
    words = [word for pair in zip(names, parts, strict=True) for word in (f"--{pair[0]}", pair[1])]
    return ", ".join(parts), [*data.split(), *words]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--models", type=int, nargs="+", default=range(12))
    given = parser.parse_args()
    print("| model | agrees, differs, not checked, reported | nearest to its tolerance | seconds |")
    print("|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for number in given.models:
            row(Path(folder), number, given.epochs)


def row(folder, number, epochs):
    parts, words = model(number)
    words += ["--epochs", str(epochs), "--save", str(folder), "--name", str(number)]
    run([sys.executable, "train.py", *words])
    began, busy = time.monotonic(), _busy()
    output = folder / f"audit-{number}"
    # Status 1 says that lines differ: the table says which.
    run([sys.executable, "-m", "kvae.audit", str(folder / str(number)), "--output", str(output)], 1)
    seconds, busy = time.monotonic() - began, _busy() - busy
    found = json.loads((output / "audit.json").read_text(encoding="utf-8"))
    # Those of signatures: what chance moves is near its tolerance for that alone.
    measured = [
        line for line in found["lines"]
        if line["tolerance"] and line["largest"] is not None and "/" in line["what"]
    ]  # fmt: skip
    nearest = max(measured, key=lambda line: line["largest"] / line["tolerance"])
    wrong = [line["what"] for line in found["lines"] if line["verdict"] == "differs"]
    print(
        f"| {parts} | {', '.join(map(str, found['verdicts'].values()))} "
        f"| `{nearest['what']}`: {nearest['largest']:.1e} of {nearest['tolerance']:.1e} "
        f"| {busy:.0f} of processors, {seconds:.0f} |"
        + "".join(f"\n{number}: differs: {what}" for what in wrong),
        flush=True,
    )


def _busy():
    """Processor time of all children that ended, seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(words, *allowed):
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, *allowed):
        raise SystemExit(f"{' '.join(words)}\n{done.stderr}")


if __name__ == "__main__":
    main()
