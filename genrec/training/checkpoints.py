"""Checkpoints of a training, by Orbax: written in the background, never read half-written."""

from pathlib import Path
from typing import Any, cast

import jax
from orbax.checkpoint import v1 as ocp

from genrec.errors import UserError

_keep = ocp.training.preservation_policies


class Checkpoints:
    """The checkpoints of one run, a folder named by the number of finished epochs for each.

    The best by validation and the latest are kept. Use it as a context manager: leaving waits for
    the last write.

    Args:
        folder: where they are; made if need be.
        fingerprint: identifies settings and data; a checkpoint of another one is refused. None
            accepts any, where the caller knows from elsewhere whose they are.
    """

    def __init__(self, folder: Path, fingerprint: str | None = None):
        self._fingerprint = fingerprint
        policy: Any = _keep.AnyPreservationPolicy(
            [
                _keep.BestN(
                    get_metric_fn=lambda metrics: metrics["ndcg@10"],
                    n=1,
                    keep_checkpoints_without_metrics=False,
                ),
                _keep.LatestN(1),
            ]
        )
        self._orbax = ocp.training.Checkpointer(
            str(folder.absolute()), preservation_policy=policy, cleanup_tmp_directories=True
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self._orbax.close()

    @property
    def latest(self) -> int | None:
        """Epochs finished at the latest checkpoint; None where there is none."""
        return None if self._orbax.latest is None else self._orbax.latest.step

    @property
    def best(self) -> int:
        """Epochs finished at the checkpoint with the highest validation NDCG@10.

        Raises:
            UserError: no checkpoint has been validated, so there are no trained weights.
        """
        validated: dict[int, Any] = {
            c.step: cast(dict, c.metrics)["ndcg@10"] for c in self._orbax.checkpoints if c.metrics
        }
        if not validated:
            raise UserError(
                f"{self._orbax.directory} holds no validated checkpoint: "
                "train first with `genrec train`"
            )
        return max(validated, key=lambda epoch: validated[epoch])

    def save(self, epoch: int, state: dict[str, Any], metrics: Any) -> None:
        """Starts writing a checkpoint, once the one before it is written.

        `metrics` are those of its validation, a dict of floats, or None.
        """
        contents = {**state, "about": {"fingerprint": self._fingerprint}}
        self._orbax.save_checkpointables_async(epoch, contents, metrics=metrics, force=True)

    def restore(self, epoch: int, like: dict[str, Any]) -> dict[str, Any]:
        """The parts of a checkpoint that `like` names, in the shapes that it has.

        Raises:
            UserError: the checkpoint was made with other settings or data, or can't be read.
        """
        place = f"{self._orbax.directory}/{epoch}"
        try:
            about = self._orbax.load_checkpointables(epoch, {"about": None})["about"]
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{place} can't be read: {error}") from error
        if self._fingerprint not in (None, about["fingerprint"]):
            raise UserError(
                f"{place} was made with other settings or data: "
                "choose another folder with --out, or remove this one's checkpoints"
            )
        return self._orbax.load_checkpointables(epoch, jax.tree.map(_shape, like))


def _shape(array: jax.Array | jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=_device())


def _device() -> jax.sharding.Sharding:
    return jax.sharding.SingleDeviceSharding(jax.devices()[0])
