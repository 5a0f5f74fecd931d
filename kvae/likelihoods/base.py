"""What every likelihood provides."""

import keras


class Likelihood(keras.layers.Layer):
    """A density of x given what the decoder says, p(x given z).

    Attributes:
        kind: its name among the likelihoods.
    """

    kind: str

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    @classmethod
    def make(cls, element_shape, **own):
        """The likelihood for x of a shape; by default the constructor alone.

        Args:
            element_shape: of one x, `(features,)` or `(height, width, channels)`.
            **own: its declared options, under the names of the constructor's arguments.
        """
        del element_shape
        return cls(**own)

    def num_outputs(self, channels):
        """What the decoder's last axis must hold for x whose last axis holds `channels`."""
        raise NotImplementedError(f"{type(self).__name__} has no num_outputs")

    def distribution(self, params):
        """p(x given z) as a distribution.

        Args:
            params: the decoder's output, `(batch, ..., num_outputs(channels))`, the means first.
        """
        raise NotImplementedError(f"{type(self).__name__} has no distribution")
