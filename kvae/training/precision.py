"""Which Keras dtype policy the hidden layers compute in."""

from pathlib import Path

import keras

_POLICIES = {"off": "float32", "float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}


def choose_policy(mode: str) -> tuple[str, str]:
    """Turn `--mixed-precision` into a dtype policy.

    Args:
        mode: "off", "float16" (with dynamic loss scaling), "bfloat16", or "auto": bfloat16 where
            the hardware multiplies it faster, else float16 on GPUs that have it, else float32.

    Returns:
        The policy's name and the reason, for people.
    """
    capabilities = _GPUS[keras.backend.backend()]()
    if mode != "auto":
        return _POLICIES[mode], "as asked for"
    if capabilities:
        return policy_for_gpu(min(capabilities))
    return policy_for_cpu(_cpu_flags())


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


def policy_for_cpu(flags: set[str]) -> tuple[str, str]:
    """The policy for a CPU with those feature flags, as Linux names them."""
    if "amx_bf16" in flags:
        return "mixed_bfloat16", "this CPU multiplies bfloat16 matrices (AMX)"
    return "float32", "no GPU, and this CPU has no bfloat16 matrix units (AMX)"


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith("flags") for flag in line.split()[2:]}
