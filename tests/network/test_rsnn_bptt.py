"""Back-propagation through time, e-prop's upper bound in the claim `rsnn`, held against e-prop and what it must do."""

import numpy as np
import pytest

from claims.rsnn_bptt import Backwards, gradients
from cosim.network.run import Streams
from cosim.network.systems.rsnn import RsnnSystem
from network.test_rsnn import SMALL, toy

PLAIN = SMALL.with_(optimiser="sgd", rate=0.1, batch=1)


def test_without_recurrent_paths_it_is_what_the_network_takes() -> None:
    run = RsnnSystem(PLAIN, toy(), epochs=1, backend="numpy").start(Streams(5))
    before = {name: run.weight(name).copy() for name in ("into", "among", "read")}
    one = run.system.speech.train[int(run.order(0)[0])]
    found, _ = gradients(before, run._rows(one), one.phones, PLAIN, whole=False)
    run.learn(0)
    steps = len(one.phones) * PLAIN.steps
    for name, x in found.items():
        expected = -PLAIN.rate * x / steps
        assert np.abs(expected).max() > 1e-4
        # differences of weights of about 1 after changes of 1e-6 of them keep nine digits
        np.testing.assert_allclose(
            run.weight(name) - before[name], expected, atol=1e-7 * np.abs(expected).max() + 1e-11
        )


def test_recurrent_paths_are_there() -> None:
    run = RsnnSystem(PLAIN, toy(), epochs=1, backend="numpy").start(Streams(5))
    weights = {name: run.weight(name) for name in ("into", "among", "read")}
    one = run.system.speech.train[0]
    whole, part = (gradients(weights, one.features, one.phones, PLAIN, whole=x)[0] for x in (True, False))
    assert np.array_equal(whole["read"], part["read"])
    for name in ("into", "among"):
        assert not np.allclose(whole[name], part[name])
    # Without recurrent weights, a layer that never resets, and so no threshold to give back, has no such path.
    silent = {**weights, "among": np.zeros_like(weights["among"]), "into": 1e-3 * weights["into"]}
    whole, part = (gradients(silent, one.features, one.phones, PLAIN, whole=x)[0] for x in (True, False))
    assert not np.allclose(whole["into"], part["into"])  # the threshold alone


def test_the_whole_gradient_is_what_derivatives_that_go_forwards_say() -> None:
    run = RsnnSystem(PLAIN, toy(), epochs=1, backend="numpy").start(Streams(5))
    weights = {name: run.weight(name) for name in ("into", "among", "read")}
    one, s, rng = run.system.speech.train[0], PLAIN, np.random.default_rng(0)
    found, loss = gradients(weights, one.features, one.phones, s)
    leak, kappa = np.exp(-10.0 / s.steps / s.tau), np.exp(-10.0 / s.steps / s.tau_out)
    for name, x in weights.items():
        change = {other: np.zeros_like(y) for other, y in weights.items()} | {name: rng.standard_normal(x.shape)}
        np.fill_diagonal(change["among"], 0.0)
        v, z, dv, dz = (np.zeros(weights["into"].shape[1]) for _ in range(4))
        y, dy = (np.zeros(weights["read"].shape[1]) for _ in range(2))
        total = slope_of_loss = 0.0
        for shown, answer in zip(np.repeat(one.features, s.steps, 0), np.repeat(one.phones, s.steps), strict=True):
            u = leak * v + shown @ weights["into"] + z @ weights["among"]
            du = leak * dv + shown @ change["into"] + dz @ weights["among"] + z @ change["among"]
            slope = s.beta / s.threshold * np.maximum(0.0, 1.0 - np.abs(u / s.threshold - 1.0))
            z, dz = (u > s.threshold).astype(float), slope * du
            v, dv = u - s.threshold * z, du - s.threshold * dz
            y, dy = kappa * y + z @ weights["read"], kappa * dy + dz @ weights["read"] + z @ change["read"]
            shares = np.exp(y) / np.exp(y).sum()
            total -= np.log(shares[answer])
            slope_of_loss += (shares - np.eye(y.size)[answer]) @ dy
        assert total == pytest.approx(loss, rel=1e-12)
        assert float(np.sum(found[name] * change[name])) == pytest.approx(slope_of_loss, rel=1e-9)


def test_it_learns() -> None:
    run = Backwards(RsnnSystem(PLAIN.with_(rate=1.0), toy(), epochs=3, backend="numpy"), Streams(5))
    for batch in range(len(run.system.batches)):
        run.learn(batch)
    assert np.mean(run.loss[-10:]) < 0.8 * np.mean(run.loss[:10])
    assert run.evaluate()[0]["accuracy"] == pytest.approx(1.0, abs=0.4)
