import pytest

from kvae.training import precision


@pytest.mark.parametrize(
    ("capability", "policy"),
    [((6, 1), "float32"), ((7, 0), "mixed_float16"), ((7, 5), "mixed_float16"),
     ((8, 0), "mixed_bfloat16"), ((9, 0), "mixed_bfloat16")],
)  # fmt: skip
def test_gpus_get_the_half_precision_that_they_have(capability, policy):
    found, reason = precision.policy_for_gpu(capability)
    assert found == policy
    assert ".".join(str(part) for part in capability) in reason


def test_cpus_get_bfloat16_where_they_multiply_it():
    assert precision.policy_for_cpu({"avx2", "amx_bf16"})[0] == "mixed_bfloat16"
    assert precision.policy_for_cpu({"avx2", "avx512_bf16"})[0] == "float32"
    assert precision.policy_for_cpu(set())[0] == "float32"


def test_what_is_asked_for_is_what_is_used():
    for mode, policy in (
        ("off", "float32"), ("float16", "mixed_float16"), ("bfloat16", "mixed_bfloat16"),
    ):  # fmt: skip
        assert precision.choose_policy(mode) == (policy, "as asked for")


def test_auto_names_a_policy_and_why():
    policy, reason = precision.choose_policy("auto")
    assert policy in ("float32", "mixed_float16", "mixed_bfloat16")
    assert len(reason) > 10
