"""Batches in parts, each on a device of its own."""

import functools
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree


if hasattr(jax, "shard_map"):
    shard_map = functools.partial(jax.shard_map, check_vma=False)
else:  # before JAX 0.6
    from jax.experimental import shard_map as old

    shard_map = functools.partial(old.shard_map, check_rep=False)


def check_sharding(sharding: NamedSharding | None, batch_size: int) -> None:
    """Refuse what does not cut the leading axis of a batch, or not into equal parts."""
    if sharding is None:
        return
    if not isinstance(sharding, NamedSharding) or not any(sharding.spec[:1]):
        raise ValueError(
            "`sharding` must be a `jax.sharding.NamedSharding` of a leading axis, such "
            f'as NamedSharding(mesh, PartitionSpec("batch")), got {sharding}.'
        )
    names = jax.tree.leaves(sharding.spec[0])
    parts = math.prod(sharding.mesh.shape[name] for name in names)
    if batch_size % parts:
        raise ValueError(
            f"`batch_size` must be a multiple of {parts}, the number of parts into "
            f"which `sharding` cuts a batch, got {batch_size}."
        )


def on_all(tree: PyTree, sharding: NamedSharding | None) -> PyTree:
    """The same tree, whole on each of the devices."""
    if sharding is None:
        return tree
    return _place(tree, NamedSharding(_mesh(sharding), PartitionSpec()))


# Compiled, it also gathers what other processes hold.
_place = eqx.filter_jit(eqx.filter_shard)


def in_parts(
    f: Callable[[Any, Any], tuple[PyTree, PyTree]], sharding: NamedSharding | None
) -> Callable[[Any, Any], tuple[Any, Any]]:
    """`f(shared, batch) -> (means, rows)`, each device with its own part of the batch.
    The means are then averaged over the devices; the rows stay where they are.

    Left to itself, the compiler would sum the gradient of a reversible rollout over
    the devices in every step of the way back, and every loop would ask all of them
    whether it is done. Here they meet once, at the end.
    """
    if sharding is None:
        return f
    axis = sharding.spec[0]
    whole, cut = PartitionSpec(), PartitionSpec(axis)

    def part(shared: Any, batch: Any) -> tuple[PyTree, PyTree]:
        means, rows = f(shared, batch)
        return lax.pmean(means, axis), rows

    return shard_map(
        part, mesh=_mesh(sharding), in_specs=(whole, cut), out_specs=(whole, cut)
    )


def _mesh(sharding: NamedSharding) -> Mesh:
    """The same mesh, with no axis explicit, as those of `jax.make_mesh` are in new JAX:
    their arrays would have to be cut by hand first."""
    mesh = sharding.mesh
    return Mesh(mesh.devices, mesh.axis_names)  # pyright: ignore[reportArgumentType]
