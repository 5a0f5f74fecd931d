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


@pytest.mark.parametrize(
    ("flag", "network", "policy"),
    [("amx_bf16", "mlp", "mixed_bfloat16"), ("amx_bf16", "conv", "mixed_bfloat16"),
     ("avx512_bf16", "mlp", "float32"), ("avx512_bf16", "conv", "mixed_bfloat16"),
     ("avx512_bf16", "resnet", "mixed_bfloat16"), ("avx512f", "conv", "float32")],
)  # fmt: skip
def test_cpus_get_bfloat16_where_they_gain_from_it(flag, network, policy, monkeypatch):
    monkeypatch.setattr(precision, "_cpu_flags", lambda: {"avx2", flag})
    assert precision.choose_policy("auto", network)[0] == policy
    assert precision.choose_policy("off", network)[0] == "float32"


def test_what_is_asked_for_is_what_is_used():
    for mode, policy in (
        ("off", "float32"), ("float16", "mixed_float16"), ("bfloat16", "mixed_bfloat16"),
    ):  # fmt: skip
        assert precision.choose_policy(mode, "conv") == (policy, "as asked for")


def test_auto_names_a_policy_and_why():
    policy, reason = precision.choose_policy("auto", "mlp")
    assert policy in ("float32", "mixed_float16", "mixed_bfloat16")
    assert len(reason) > 10
