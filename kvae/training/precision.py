"""Which Keras dtype policy the hidden layers compute in."""

from pathlib import Path

import keras

from kvae.config import Config
from kvae.data import Dataset
from kvae.data.pipeline import batches
from kvae.model import VAE
from kvae.networks import facts
from kvae.saying import say
from kvae.serving.export import float32_twin
from kvae.training.fitting import valid_batch
from kvae.training.keeping.checkpoints import Record
from kvae.training.start import compile_for, steps_of

_POLICIES = {"off": "float32", "float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}


def choose_policy(mode: str, network: str) -> tuple[str, str]:
    """Turn `--mixed-precision` into a dtype policy.

    Args:
        mode: "off", "float16" (with dynamic loss scaling), "bfloat16", or "auto": bfloat16 where
            the hardware computes this network faster in it, else float16 on GPUs that have it, else
            float32.
        network: a key of `kvae.networks.NETWORKS`.

    Returns:
        The policy's name and the reason, for people.
    """
    capabilities = _GPUS[keras.backend.backend()]()
    if mode != "auto":
        return _POLICIES[mode], "as asked for"
    if capabilities:
        return policy_for_gpu(min(capabilities))
    return policy_for_cpu(_cpu_flags(), convolves=facts(network).image_sizes is not None)


# TensorFloat-32 rounds products of float32 to 10 bits: too few for densities. Each of these
# switches it off and gives the CUDA compute capability of each GPU, (0, 0) where it is not known.


def _gpus_of_tensorflow():
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return [detail.get("compute_capability", (0, 0)) for detail in details]


def _gpus_of_jax():
    import jax

    jax.config.update("jax_default_matmul_precision", "float32")
    gpus = [device for device in jax.devices() if device.platform == "gpu"]
    texts = [getattr(gpu, "compute_capability", "0.0") for gpu in gpus]
    return [_version(text) for text in texts]


def _version(text):
    parts = text.split(".")
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else (0, 0)


def _gpus_of_torch():
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return [torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())]


_GPUS = {
    "tensorflow": _gpus_of_tensorflow, "jax": _gpus_of_jax, "torch": _gpus_of_torch,
}  # fmt: skip


def policy_for_gpu(capability: tuple[int, int]) -> tuple[str, str]:
    """The policy for a GPU of that CUDA compute capability."""
    shown = ".".join(str(part) for part in capability)
    if capability >= (8, 0):
        return "mixed_bfloat16", f"a GPU of compute capability {shown} has bfloat16 units"
    if capability >= (7, 0):
        return "mixed_float16", f"a GPU of compute capability {shown} has float16 units"
    return "float32", f"a GPU of compute capability {shown} gains nothing from half precision"


def policy_for_cpu(flags: set[str], *, convolves: bool) -> tuple[str, str]:
    """The policy for a CPU.

    Args:
        flags: the CPU's features, as Linux names them.
        convolves: whether most of the work is convolutions.

    Returns:
        The policy's name and the reason, for people.
    """
    if "amx_bf16" in flags:
        return "mixed_bfloat16", "this CPU multiplies bfloat16 matrices (AMX)"
    if "avx512_bf16" not in flags:
        return "float32", "no GPU, and this CPU has no bfloat16 units (AMX, AVX-512 BF16)"
    # oneDNN uses them for convolutions; dense layers as small as these lose more in conversions.
    if convolves:
        return "mixed_bfloat16", "this CPU convolves bfloat16 numbers (AVX-512 BF16)"
    return "float32", "no GPU, and this CPU's bfloat16 units (AVX-512 BF16) help convolutions alone"


def in_float32(config: Config, dataset: Dataset, vae: VAE, record: Record) -> dict[str, float]:
    """Measure the best weights of a half-precision run as they are served, and say what was found.

    Args:
        config: all options.
        dataset: as the model takes it.
        vae: the model with its best weights, in half precision.
        record: of these weights.

    Returns:
        `elbo` and `loss` of the valid split in float32, nats per example, with the noise that
        training measures with.
    """
    twin = float32_twin(vae)
    twin.prior_started = vae.prior_started
    compile_for(config, twin, steps_of(config, dataset))
    rows = dataset.valid.x
    size = min(valid_batch(config, dataset, vae.objective), len(rows))
    found = twin.evaluate(batches(rows, size), verbose=0, return_dict=True)
    figures = {name: float(found[name]) for name in ("elbo", "loss")}
    say(
        f"precision  the best weights in float32: validation {record.figure} "
        f"{figures[record.figure]:.5g}, in {vae.dtype_policy.name.removeprefix('mixed_')} "
        f"{record.value:.5g}",
        flush=True,
    )  # fmt: skip
    return figures


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith("flags") for flag in line.split()[2:]}
