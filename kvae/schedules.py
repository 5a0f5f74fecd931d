"""Schedules: functions of the number of steps taken."""

import keras


@keras.saving.register_keras_serializable(package="kvae")
class LinearWarmup:
    """Rises in a straight line from 0 to `target` over `warmup_steps`, then stays.

    The first step gets `target / warmup_steps`.

    Args:
        target: the final value.
        warmup_steps: at least 1.
    """

    def __init__(self, target, warmup_steps):
        self.target = float(target)
        self.warmup_steps = int(warmup_steps)

    def __call__(self, step):
        """The value for step number `step` (from 0), a float32 scalar."""
        done = (keras.ops.cast(step, "float32") + 1.0) / self.warmup_steps
        return self.target * keras.ops.minimum(done, 1.0)

    def get_config(self):
        """Arguments of the constructor."""
        return {"target": self.target, "warmup_steps": self.warmup_steps}

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        return cls(**config)
