"""Checkpoints of long runs: a run that was killed goes on to the same bits."""

import json
import shutil
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import orbax.checkpoint as ocp

from .record import write


State = TypeVar("State")


class Checkpoints:
    """The last states of a run in a folder, beside the settings that it was started
    with. A checkpoint is there whole or not at all."""

    def __init__(self, folder: Path, settings: dict[str, Any], restart: bool = False):
        """`restart` forgets what is there. Without it, a run that was started with
        other settings, or a file that cannot be read, is a `ValueError`."""
        folder = folder.absolute()
        file = folder / "settings.json"
        if restart:
            shutil.rmtree(folder, ignore_errors=True)
        # As they come back from a file.
        settings = json.loads(json.dumps(settings))
        if file.exists():
            try:
                found = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise unreadable(file, error) from error
            if found != settings:
                raise ValueError(
                    f"`out` holds a run with other settings, {found}: choose another "
                    f"folder, or `--restart` to start anew with {settings}."
                )
        else:
            write(file, settings)
        self._manager = ocp.CheckpointManager(
            folder / "states",
            options=ocp.CheckpointManagerOptions(
                max_to_keep=2, enable_async_checkpointing=False
            ),
        )

    def save(self, step: int, state: Any) -> None:
        """Keep the arrays of a state, and the last state before it."""
        self._manager.save(step, args=ocp.args.StandardSave(_arrays(state)))

    def latest(self, state: State) -> tuple[int, State]:
        """The number and the state that were kept last; 0 and `state` if none were.
        What is not an array is that of `state`."""
        step = self._manager.latest_step()
        if step is None:
            return 0, state
        template = _arrays(state)
        try:
            found = self._manager.restore(step, args=ocp.args.StandardRestore(template))
        except Exception as error:  # as many kinds as there are ways to be broken
            raise unreadable(self._manager.directory / str(step), error) from error
        leaves = [found[name] for name in template]
        arrays, rest = eqx.partition(state, eqx.is_array)
        arrays = jax.tree.unflatten(jax.tree.structure(arrays), leaves)
        return step, eqx.combine(arrays, rest)


def unreadable(path: Any, error: Exception) -> ValueError:
    """What to say of a file that is broken."""
    return ValueError(
        f"`out`: {path} must be as a run has written it, and cannot be read ({error}): "
        "choose another folder, or `--restart` to start anew."
    )


def _arrays(state: Any) -> dict[str, jax.Array]:
    leaves = jax.tree.leaves(eqx.filter(state, eqx.is_array))
    return {f"{i:05}": leaf for i, leaf in enumerate(leaves)}
