"""Values of variables on the way into a `keras.StatelessScope` and out of it."""


def pairs(*known):
    """(variable, value) of each."""
    return [pair for variables, values in known for pair in zip(variables, values, strict=True)]


def after(scope, variables, values):
    """The values of variables at the end of a scope."""
    found = [scope.get_current_value(variable) for variable in variables]
    return [old if new is None else new for new, old in zip(found, values, strict=True)]
