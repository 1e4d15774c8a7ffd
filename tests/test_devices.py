"""One device or several, of one process or of more, give the same numbers."""

import os
import re
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np


ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
EXAMPLE = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
# The one that says who the others are.
[LAUNCH] = re.findall(r"```py\n([^`]*COORDINATOR.*?)```", PAGE, re.DOTALL)
OLD_JAX = textwrap.dedent(
    """
    import jax
    if not hasattr(jax, "shard_map"):
        from jax.experimental.shard_map import shard_map as old
        jax.shard_map = lambda f, check_vma, **kw: old(f, check_rep=check_vma, **kw)
    """
)
SAVE = textwrap.dedent(
    """
    import os, sys
    import equinox as eqx, numpy as np
    from chlu_eqx.training.devices import on_all
    found = jax.tree.leaves(eqx.filter(fit.last, eqx.is_array))
    found += [fit.history[-1].loss, fit.history[-1].validation, mean]
    # What each process has read, and then all devices have.
    sharding = NamedSharding(mesh, cut)
    own = np.arange(8.0).reshape(jax.process_count(), -1)[jax.process_index()]
    whole = jax.make_array_from_process_local_data(sharding, own)
    found.append(on_all(whole, sharding))
    assert np.array_equal(found[-1], np.arange(8.0))
    mine = [(s.index[0].start or 0, s.data) for s in positions.addressable_shards]
    np.savez(sys.argv[1], *found, **{f"chain {i}": x for i, x in mine})
    """
)


def _start(code, *arguments, devices=1, **variables):
    count = f"--xla_force_host_platform_device_count={devices}"
    flags = f"{count} --xla_backend_optimization_level=0"  # to compile fast
    variables |= {"XLA_FLAGS": flags, "JAX_ENABLE_X64": "1"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=os.environ | variables, cwd=ROOT)


def _free_port():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def test_example_on_devices_and_processes(tmp_path):
    """The page's own: on one device, on four, and on two of each of two processes."""
    code = OLD_JAX + EXAMPLE + SAVE
    where = {"COORDINATOR": f"localhost:{_free_port()}", "PROCESSES": "2"}
    started = [
        _start(code, tmp_path / "1.npz"),
        _start(code, tmp_path / "4.npz", devices=4),
        *(
            _start(
                LAUNCH + code,
                tmp_path / f"2x{i}.npz",
                devices=2,
                PROCESS=str(i),
                **where,
            )
            for i in (0, 1)
        ),
    ]
    assert [process.wait() for process in started] == [0] * 4
    one, four, *two = (
        dict(np.load(tmp_path / f"{name}.npz")) for name in ("1", "4", "2x0", "2x1")
    )

    def chains(*runs):
        """In order, wherever they were made."""
        parts = {k: run.pop(k) for run in runs for k in list(run) if "chain" in k}
        assert len(parts) == (1 if runs == (one,) else 4)
        return np.concatenate([parts[k] for k in sorted(parts, key=_number)])

    expected = chains(one)
    for runs in ((four,), two):
        np.testing.assert_allclose(chains(*runs), expected, rtol=1e-9)
        for run in runs:
            assert run.keys() == one.keys()
            for name in one:
                np.testing.assert_allclose(run[name], one[name], rtol=1e-10, atol=1e-12)


def _number(name):
    return int(name.split()[1])


SCRIPT = """
    import re
    import diffrax, equinox as eqx, jax, jax.numpy as jnp, jax.random as jr
    import numpy as np, optax
    import chlu_eqx as cx
    from chlu_eqx.training import contrastive_steps, trajectory_wake
    from chlu_eqx.training.devices import in_parts, shard_map
    from jax.sharding import Mesh, NamedSharding, PartitionSpec
    from tests.training.test_contrastive import _state, _unit, SLEEP

    devices = jax.devices()
    assert len(devices) == 4
    mesh, cut = Mesh(devices, ("batch",)), PartitionSpec("batch")
    sharding = NamedSharding(mesh, cut)

    def same(*trees):
        for a, b in zip(*(map(np.asarray, jax.tree.leaves(t)) for t in trees)):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)

    def meetings(text):
        lines = text.splitlines()
        return [line for line in lines if re.search(r" all-[a-z]+\\(", line)]

    def refused(message, f, *args, **kwargs):
        try:
            jax.block_until_ready(f(*args, **kwargs))
        except Exception as error:
            assert message in str(error), error
        else:
            raise AssertionError(f"not refused: {message}")

    # Dreams and windows.
    optimizer = optax.adam(1e-2)
    windows = tuple(jr.normal(jr.key(3), (2, 50, 7, 2)))

    def train(sharding, steps=contrastive_steps, batch_size=16):
        return steps(
            _state(_unit(), optimizer), windows, 3, optimizer=optimizer,
            wake=trajectory_wake, sleep=SLEEP, batch_size=batch_size,
            penalty=jnp.array(0.01), sharding=sharding,
        )

    def numbers(trained):
        state, report = trained
        return eqx.filter((state.model, state.buffer.states, report), eqx.is_array)

    same(numbers(train(None)), numbers(train(sharding)))
    text = train(sharding, contrastive_steps.lower).compile().compiled.as_text()
    # Each device has four of the sixteen chains.
    assert "f64[4,2]" in text
    refused("`batch_size` must be a multiple of 4", train, sharding, batch_size=6)
    for bad in (NamedSharding(mesh, PartitionSpec()), mesh):
        refused("`sharding` must be", train, bad)

    # Langevin's equation.
    energy = cx.SeparableHamiltonian(cx.NewtonianKinetic(2), lambda q: jnp.sum(q**4))

    def langevin(q, key):
        q = eqx.error_if(q, q[0] > 100, "one has gone too far")
        path = cx.FixedGridBrownianPath(0.1, (2,), key)
        term = cx.LangevinTerm(energy, path, friction=1.0, temperature=0.5)
        return diffrax.diffeqsolve(
            term, cx.BAOAB(), 0.0, 2.0, 0.1, (q, 0 * q), max_steps=32
        ).ys

    starts, keys = jr.normal(jr.key(0), (8, 2)), jr.split(jr.key(1), 8)
    chains = shard_map(jax.vmap(langevin), mesh=mesh, in_specs=cut, out_specs=cut)
    chains = eqx.filter_jit(chains)
    same(jax.jit(jax.vmap(langevin))(starts, keys), chains(starts, keys))
    text = chains.lower(starts, keys).compile().compiled.as_text()
    assert "while" in text and not meetings(text)

    # The gradient of reversible rollouts.
    params, static = eqx.partition(_unit(), eqx.is_inexact_array)

    def loss(params, y0):
        unit = eqx.combine(params, static)
        q, p = jax.vmap(lambda y: unit(y, 20))(y0)
        return jnp.mean(q**2)

    def gradient(params, y0):
        return jax.grad(loss)(params, y0), None

    y0 = tuple(jr.normal(jr.key(4), (2, 8, 2)))
    many = jax.jit(in_parts(gradient, sharding))
    same(gradient(params, y0), many(params, y0))
    text = many.lower(params, y0).compile().as_text()
    assert meetings(text)
    for line in meetings(text):
        assert "psum" in line and "while" not in line, line

    # Chains never meet, so one that fails does not hold up the others. (Last, since old
    # versions of JAX may tell of the failure again from the program run next.)
    refused("one has gone too far", chains, starts.at[5].set(200.0), keys)
"""


def test_contrastive_and_langevin_on_four_devices():
    """The same as on one, and devices meet for the mean of gradients alone."""
    assert _start(textwrap.dedent(SCRIPT), devices=4).wait() == 0
