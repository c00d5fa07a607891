"""The portable programs of a bundle: StableHLO, made by `genrec.export.stablehlo`."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import export

from genrec.errors import UserError, reason


def load_program(contents: Mapping[str, bytes], name: str, *arguments: Any) -> Callable[..., Any]:
    """The function that a program's file holds.

    XLA runs a program as it is: what it does, and what reading it does, is up to whoever made the
    bundle.

    Args:
        contents: of every file of the bundle.
        arguments: trees of arrays such as it will be called with.

    Raises:
        UserError: the file holds no program, or one for another JAX or other arguments.
    """
    try:
        program = export.deserialize(bytearray(contents[name])).call
        jax.eval_shape(program, *arguments)
    except Exception as error:  # of many kinds, for the format has no checks of its own
        raise UserError(f"{name} cannot be used here: {reason(error)}") from error
    return program
