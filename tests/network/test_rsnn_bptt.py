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


def test_it_learns() -> None:
    run = Backwards(RsnnSystem(PLAIN.with_(rate=1.0), toy(), epochs=3, backend="numpy"), Streams(5))
    for batch in range(len(run.system.batches)):
        run.learn(batch)
    assert np.mean(run.loss[-10:]) < 0.8 * np.mean(run.loss[:10])
    assert run.evaluate()[0]["accuracy"] == pytest.approx(1.0, abs=0.4)
