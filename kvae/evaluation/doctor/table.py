"""Which options the doctor may advise for which problem: what docs/troubles.md shows."""

from kvae.evaluation.doctor import PROBLEMS

#: A key of PROBLEMS -> options of kvae train that its advice may name, whatever the numbers say.
MAY_HELP: dict[str, tuple[str, ...]] = {
    "data out of range": ("--standardize",),
    "learning rate too high": ("--learning-rate",),
    "diverged": (
        "--beta",
        "--clip-norm",
        "--kl-warmup-epochs",
        "--learning-rate",
        "--mixed-precision",
        "--variance",
    ),
    "posterior collapse": (
        "--beta",
        "--epochs",
        "--free-bits",
        "--kl-warmup-epochs",
        "--learning-rate",
        "--variance",
    ),
    "no better than the mean": (
        "--beta",
        "--epochs",
        "--free-bits",
        "--kl-warmup-epochs",
        "--variance",
    ),
    "memorisation": (
        "--epochs",
        "--flip",
        "--hidden-units",
        "--latent-dim",
    ),
    "modes missed": (
        "--epochs",
        "--latent-dim",
        "--linear-path",
        "--prior",
        "--prior-components",
        "--sampler",
        "--standardize",
        "--variance",
    ),
    "samples unlike the data": (
        "--epochs",
        "--latent-dim",
        "--linear-path",
        "--prior",
        "--prior-components",
        "--sampler",
        "--standardize",
        "--variance",
    ),
    "far below the true density": (
        "--epochs",
        "--latent-dim",
        "--linear-path",
        "--prior",
        "--prior-components",
        "--sampler",
        "--standardize",
        "--variance",
    ),
    "overfitting": (
        "--flip",
        "--hidden-units",
        "--latent-dim",
    ),
    "training too short": (
        "--epochs",
        "--kl-cycle-epochs",
        "--kl-warmup-epochs",
        "--learning-rate",
    ),
    "beta far from 1": (
        "--beta",
        "--variance",
    ),
    "variance too large": (
        "--epochs",
        "--variance",
    ),
    "variance too small": (
        "--flip",
        "--hidden-units",
        "--latent-dim",
        "--variance",
    ),
    "dead sampler": (
        "--latent-dim",
        "--sampler",
    ),
    "prior gap": (
        "--beta",
        "--prior",
        "--sampler",
    ),
    "unstable training": (
        "--beta",
        "--clip-norm",
        "--kl-warmup-epochs",
        "--learning-rate",
        "--mixed-precision",
        "--variance",
    ),
    "few units": (
        "--beta",
        "--free-bits",
        "--kl-warmup-epochs",
        "--latent-dim",
        "--variance",
    ),
    "latent space too small": ("--latent-dim",),
}


def options_page() -> str:
    """The table of docs/troubles.md, as Markdown."""
    lines = ["| trouble | what it means | what may help |", "|---|---|---|"]
    for problem, meaning in PROBLEMS.items():
        options = ", ".join(f"`{option}`" for option in MAY_HELP[problem])
        lines.append(f"| {problem} | {meaning} | {options} |")
    return "\n".join(lines)
