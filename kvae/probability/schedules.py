"""Schedules: functions of the number of steps taken."""

import keras

from kvae.errors import UsageError


@keras.saving.register_keras_serializable(package="kvae")
class LinearWarmup:
    """Rises in a straight line from 0 to `target` over `warmup_steps`, then stays.

    The first step gets `target / warmup_steps`.

    Args:
        target: the final value.
        warmup_steps: at least 1.

    Raises:
        UsageError: fewer steps.
    """

    def __init__(self, target, warmup_steps):
        if warmup_steps < 1:
            raise UsageError(f"warmup_steps must be at least 1, received {warmup_steps}")
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


@keras.saving.register_keras_serializable(package="kvae")
class Cyclical:
    """Rises in a straight line from 0 to `target` over the first half of each cycle, then stays.

    Args:
        target: the highest value.
        cycle_steps: steps from one start at 0 to the next, at least 2.

    Raises:
        UsageError: fewer steps.

    Source: Fu et al., "Cyclical annealing schedule", NAACL 2019.
    """

    def __init__(self, target, cycle_steps):
        if cycle_steps < 2:
            raise UsageError(f"cycle_steps must be at least 2, received {cycle_steps}")
        self.target = float(target)
        self.cycle_steps = int(cycle_steps)

    def __call__(self, step):
        """The value for step number `step` (from 0), a float32 scalar."""
        within = keras.ops.cast(step % self.cycle_steps, "float32") + 1.0
        return self.target * keras.ops.minimum(2.0 * within / self.cycle_steps, 1.0)

    def get_config(self):
        """Arguments of the constructor."""
        return {"target": self.target, "cycle_steps": self.cycle_steps}

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        return cls(**config)
