"""Which Keras dtype policy the hidden layers compute in."""

from pathlib import Path

import tensorflow as tf

_POLICIES = {"off": "float32", "float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}


def choose_policy(mode: str) -> tuple[str, str]:
    """Turn `--mixed-precision` into a dtype policy.

    Args:
        mode: "off", "float16" (with dynamic loss scaling), "bfloat16", or "auto": bfloat16 where
            the hardware multiplies it faster, else float16 on GPUs that have it, else float32.

    Returns:
        The policy's name and the reason, for people.
    """
    # TensorFloat-32 rounds products of float32 to 10 bits: too few for densities.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if mode != "auto":
        return _POLICIES[mode], "as asked for"
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        capability = min(detail.get("compute_capability", (0, 0)) for detail in details)
        return policy_for_gpu(capability)
    return policy_for_cpu(_cpu_flags())


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
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith("flags") for flag in line.split()[2:]}
