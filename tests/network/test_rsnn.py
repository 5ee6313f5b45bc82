"""Speech as frames, the network that learns its phones, and data that cannot be read."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from cosim.cli.app import main
from cosim.data import speech
from cosim.data.speech import Speech, Utterance, labels, mfcc, normalised, sentences, timit
from cosim.errors import EngineMissing, InputError, UnknownName
from cosim.network.run import Streams, run_network
from cosim.network.systems.rsnn import PRESETS, RsnnSettings, RsnnSystem, pace_told

RATE = 16000
SMALL = RsnnSettings(hidden=20, tau=20.0, rate=0.02, optimiser="adam", batch=4, steps=2, spread=1.0)


def spoken(count: int, *, kinds: int = 3, seed: int = 0) -> list[Utterance]:
    """Segments of some frames, each kind with a direction of its own, in noise."""
    rng, found = np.random.default_rng(seed), []
    ways = np.random.default_rng(99).standard_normal((kinds, 6))
    for _ in range(count):
        phones = np.repeat(rng.integers(kinds, size=8), 5)
        found.append(Utterance(ways[phones] + 0.5 * rng.standard_normal((40, 6)), phones))
    return found


def toy() -> Speech:
    return Speech("toy", ("a", "b", "c"), *normalised([spoken(24), spoken(6, seed=1), spoken(3, seed=2)]))


def test_the_features_of_a_tone() -> None:
    """39 of them every 10 ms; the same at twice the amplitude but for the first, and no slope while it lasts."""
    t = np.arange(RATE // 2) / RATE
    tone = 1000.0 * np.sin(2 * np.pi * 400.0 * t)
    found, loud = mfcc(tone, RATE), mfcc(2.0 * tone, RATE)
    assert found.shape == (1 + (RATE // 2 - 400) // 160, 39)
    np.testing.assert_allclose(found[:, 1:13], loud[:, 1:13], atol=1e-6)
    assert np.all(loud[:, 0] > found[:, 0])
    assert np.abs(found[5:-5, 13:]).max() < 1e-9  # each window begins at the same phase
    with pytest.raises(InputError, match="shorter than a window"):
        mfcc(tone[:100], RATE)


def test_features_are_those_of_another_library() -> None:
    """Coefficients and both differences by python_speech_features 0.6, whose triangles were set to lie at their exact
    frequencies: it rounds these to the bins of the spectrum, and correlates with 0.97 to 0.999 per coefficient then.
    """
    t, noise = np.arange(RATE) / RATE, np.random.default_rng(0).standard_normal(RATE)
    chirp = 3000.0 * np.sin(2 * np.pi * (200.0 + 600.0 * t) * t) * (1.0 + np.sin(2 * np.pi * 3.0 * t))
    found = mfcc(chirp + 300.0 * noise, RATE)[np.ix_([10, 50, 90], [0, 1, 5, 12, 13, 17, 25, 26, 30, 38])]
    expected = [
        [61.01633, -18.39274, -23.71364, 17.62946, -0.22229, -2.54352, 3.15816, -0.11804, -0.10237, -0.51465],
        [58.68795, -28.72472, -6.01005, 11.49962, -0.41485, 3.11973, 2.18296, -0.04605, -0.95023, -2.43542],
        [55.20463, -38.74876, -5.00328, 0.56228, 0.10417, 1.92703, 6.28917, 0.13192, 0.70009, -1.91950],
    ]
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_frame_has_the_phone_at_its_middle() -> None:
    assert labels(6, [0.02, 0.05, 0.08], [4, 7, 9]).tolist() == [4, 7, 7, 7, 9, 9]
    assert labels(12, [0.02, 0.05, 0.08], [4, 7, 9])[-1] == 9


def test_sentences_are_drawn_by_their_seed() -> None:
    assert sentences(50) == sentences(50)
    assert len(set(sentences(300, seed=3))) == 300
    with pytest.raises(InputError, match="0 sentences cannot be drawn"):
        sentences(0)


def test_speech_needs_its_speaker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EngineMissing, match=r"flite is not installed.*; apt-get install flite"):
        speech.stand_in(3)


def test_a_network_learns_the_toy_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    system = RsnnSystem(SMALL, toy(), epochs=2, backend="numpy")
    result = run_network(system, folder=tmp_path)
    values = result.seeds[0].values
    assert values.accuracy > 0.7 > values.majority
    assert values.unseen > 0.7
    assert any("new sentences" in line for line in result.lines())
    loss = result.seeds[0].arrays.loss
    assert loss[-3:].mean() < 0.8 * loss[0]
    run = system.start(Streams(5))
    run.learn(0)
    kept = run.state()
    run.learn(1)
    again = system.start(Streams(5))
    again.restore(kept)
    again.learn(1)
    for name in ("into", "among", "read"):
        assert np.array_equal(run.weight(name), again.weight(name))


def test_the_pace_is_told_apart_from_compiling_or_why_there_is_none() -> None:
    held = {"processor_seconds": 11.1, "first_batch_seconds": 9.9, "times_real": 156.0}
    assert pace_told(held) == (
        ", 9.9 s of them in the first batch, with any compiling; after the first batch 156 x real time"
    )
    assert "not known of a single batch" in pace_told({**held, "times_real": None})
    assert "learned before this start" in pace_told({**held, "processor_seconds": 0.0, "times_real": None})
    run = RsnnSystem(SMALL, toy().first(4), epochs=1, backend="numpy").start(Streams(0))
    run.spent = [(100, 9.0), (200, 0.5)]  # frames of 10 ms
    assert run._pace() == {"processor_seconds": 9.5, "first_batch_seconds": 9.0, "times_real": pytest.approx(4.0)}


def test_the_change_is_the_gradient_s_whatever_the_optimiser() -> None:
    """SGD takes off rate × gradient per step; the errors go back by the weights that they came by."""
    system = RsnnSystem(SMALL.with_(optimiser="sgd", rate=0.1), toy(), epochs=1, backend="numpy")
    run = system.start(Streams(5))
    run.learn(0)
    assert np.array_equal(run.weight("back"), run.weight("read").T)
    assert not np.any(np.diag(run.weight("among")))
    system = RsnnSystem(SMALL.with_(feedback="random"), toy(), epochs=1, backend="numpy")
    run = system.start(Streams(5))
    first = run.weight("back").copy()
    run.learn(0)
    assert np.array_equal(run.weight("back"), first)


def test_what_cannot_be() -> None:
    with pytest.raises(UnknownName, match="optimiser"):
        SMALL.with_(optimiser="lbfgs")
    with pytest.raises(UnknownName, match="feedback"):
        SMALL.with_(feedback="none")
    with pytest.raises(InputError, match="hidden is -3, and a network needs at least one neuron"):
        SMALL.with_(hidden=-3)
    for tau in (0.002, 0.0, float("nan")):  # what remains of a step divides what is handed over between parts
        with pytest.raises(InputError, match=r"nothing is left .* after a step of 2 ms; give 0\.067 ms or more"):
            RsnnSettings(tau=tau)
    for steps in range(1, 20):  # the remedy is taken
        with pytest.raises(InputError) as told:
            RsnnSettings(tau=1e-3, steps=steps)
        RsnnSettings(tau=float(told.value.remedy.split()[1]), steps=steps)
    with pytest.raises(InputError, match="rate is 0; give a number above zero"):
        SMALL.with_(rate=0.0)
    with pytest.raises(InputError, match="nothing to learn"):
        RsnnSystem(SMALL, Speech("empty", ("a",), (), ()), epochs=1)
    assert PRESETS["source"].tau == 200.0


# -- TIMIT -------------------------------------------------------------------------------------------------------------


def sphere(file: Path, wave: np.ndarray) -> None:
    head = "NIST_1A\n   1024\nsample_count -i 1\nsample_rate -i 16000\nsample_byte_format -s2 01\nend_head\n"
    file.write_bytes(head.encode().ljust(1024) + struct.pack(f"<{len(wave)}h", *wave.astype(int).tolist()))


def copy_of_timit(folder: Path, *, phone: str = "aa") -> Path:
    """Core test speakers and one to train on, an utterance each, and a sentence SA1 that is left out."""
    rng = np.random.default_rng(0)
    for part, names in (("TRAIN", ["FCJF0"]), ("TEST", [*speech.CORE, "FAKS0"])):
        for name in names:
            place = folder / part / "DR1" / name
            place.mkdir(parents=True)
            for stem in ("SX1", "SA1"):
                sphere(place / f"{stem}.WAV", 500.0 * rng.standard_normal(4800))
                (place / f"{stem}.PHN").write_text(f"0 1600 h#\n1600 3200 {phone}\n3200 4800 h#\n")
    return folder


def test_a_copy_of_timit_is_read(tmp_path: Path) -> None:
    found = timit(copy_of_timit(tmp_path))
    assert (len(found.train), len(found.test), len(found.unseen)) == (1, 24, 0)
    assert len(found.phones) == 61
    one = found.train[0]
    assert one.features.shape == (28, 39)
    assert [found.phones[k] for k in one.phones[[0, 12, 27]]] == ["h#", "aa", "h#"]
    np.testing.assert_allclose(one.features.mean(axis=0), 0.0, atol=1e-9)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("folder", "there is no folder"),
        ("part", "has no folder TEST"),
        ("speaker", "lacks 1 of the 24 core test speakers: MDAB0"),
        ("phone", r"SX1\.PHN:2: the phone 'xyz' is not among TIMIT's 61"),
        ("line", r"SX1\.PHN:1: a line of phones is 'begin end phone'"),
        ("sound", r"SX1\.PHN has no \.WAV beside it"),
        ("kind", r"neither RIFF nor NIST's SPHERE"),
        ("cut", r"SX1\.WAV: this RIFF file cannot be read"),
        ("stereo", r"SX1\.WAV: the sound has 2 channels; give one channel"),
        ("silent", r"SX1\.WAV: the sound is silent throughout"),
        ("short", r"SX1\.WAV: a sound of 0.00625 s is shorter than a window"),
        ("rate", r"SX1\.PHN: the sound has 8000 samples a second, the first one of the folder 16000"),
        ("back", r"SX1\.PHN:2: this phone ends before it begins"),
        ("late", r"SX1\.PHN: the phones end after 3 s, and the sound after 0.3 s"),
    ],
)
def test_copies_of_timit_that_cannot_be_read(
    broken: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy_of_timit(tmp_path / "timit", phone="xyz" if broken == "phone" else "aa")
    one = folder / "TRAIN" / "DR1" / "FCJF0"
    match broken:
        case "folder":
            folder = tmp_path / "nowhere"
        case "part":
            shutil.rmtree(folder / "TEST")
        case "speaker":
            shutil.rmtree(folder / "TEST" / "DR1" / "MDAB0")
        case "line":
            (one / "SX1.PHN").write_text("h#\n")
        case "sound":
            (one / "SX1.WAV").unlink()
        case "kind":
            (one / "SX1.WAV").write_bytes(b"OggS" * 100)
        case "cut":
            (one / "SX1.WAV").write_bytes(b"RIFF" + bytes(20))
        case "stereo":
            wavfile.write(one / "SX1.WAV", RATE, np.ones((4800, 2), dtype=np.int16))
        case "silent":
            wavfile.write(one / "SX1.WAV", RATE, np.zeros(4800, dtype=np.int16))
        case "short":
            wavfile.write(one / "SX1.WAV", RATE, np.ones(100, dtype=np.int16))
        case "rate":
            other = folder / "TEST" / "DR1" / "MDAB0" / "SX1.WAV"
            wavfile.write(other, 8000, np.arange(2400, dtype=np.int16))
        case "back":
            (one / "SX1.PHN").write_text("0 1600 h#\n1600 1200 aa\n1200 4800 h#\n")
        case "late":
            (one / "SX1.PHN").write_text("0 1600 h#\n1600 48000 aa\n")
    with pytest.raises(InputError, match=says):
        timit(folder)
    assert main(["network", "run", "rsnn", "--data", str(folder), "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("cosim: ")


def test_pieces_hold_what_the_utterances_held() -> None:
    whole = toy()
    cut = whole.pieces(12)
    assert {len(one.phones) for one in cut.train} == {13, 14}
    for name in ("features", "phones"):
        both = (np.concatenate([getattr(one, name) for one in data.train]) for data in (whole, cut))
        np.testing.assert_array_equal(*both)
    assert cut.test is whole.test
    with pytest.raises(InputError, match="a piece of 0 frames"):
        whole.pieces(0)


def test_settings_are_chosen_on_training_utterances() -> None:
    """The last ones in place of the test; what they are called says so."""
    whole = toy()
    found = whole.held_out(5)
    assert found.train == whole.train[:-5]
    assert found.test == whole.train[-5:]
    assert not found.unseen
    assert "held-out" in found.tested
    for count in (0, len(whole.train)):
        with pytest.raises(InputError, match=f"{count} of 24 training utterances cannot be held out; give a number"):
            whole.held_out(count)


def test_timit_from_the_shell_to_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with RIFF sounds, from the command line: numbers beside logistic regression, figures, results."""
    folder, rng = copy_of_timit(tmp_path / "timit"), np.random.default_rng(1)
    for file in folder.rglob("*.WAV"):
        wavfile.write(file, RATE, (500.0 * rng.standard_normal(4800)).astype(np.int16))
    out = tmp_path / "out"
    command = ["network", "run", "rsnn", "--data", str(folder), "--hidden", "8", "--epochs", "1", "-o", str(out)]
    assert main([*command, "--backend", "numpy"]) == 0
    said = capsys.readouterr().out
    assert "39 -> 8 -> 61; TIMIT, 1 utterance, 28 frames" in said
    assert "data        this copy of TIMIT is not whole: 1 of 3696 training utterances" in said
    assert "data        this copy of TIMIT is not whole: 24 of 192 core test utterances" in said
    assert "beside      logistic regression of each frame: new sentences by new speakers" in said
    found = json.loads((out / "result.json").read_text())
    assert 0.0 <= found["logistic_regression"]["test"] <= 1.0
    assert found["logistic_regression"]["unseen"] is None
    assert {file.name for file in out.glob("*.png")} == {"loss.png", "confusion.png"}
    assert main([*command, "--utterances", "2"]) == 2
    assert "--utterances 2 are more than the 1 to train on; give fewer, or 0 for all" in capsys.readouterr().err
    assert main([*command, "--geometry", "modified"]) == 2
    assert "--geometry is of a stack whose --feature is not given; give both" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
def test_flite_from_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three voices speak, one of them to the test alone."""
    command = ["network", "run", "rsnn", "--sentences", "2", "--hidden", "5", "--epochs", "1", "--no-figures"]
    assert main([*command, "--backend", "numpy", "-o", str(tmp_path)]) == 0
    assert "new sentences" in (said := capsys.readouterr().out)
    assert said.count("a voice not heard before") == 2
    data = json.loads((tmp_path / "result.json").read_text())["data"]
    assert [data[part] for part in ("train", "test", "unseen")] == [2, 2, 1]
    assert main([*command[:4], "1", "-o", str(tmp_path / "one")]) == 2
    assert "1 sentence is not enough to learn and to be tested on; give 2 or more" in capsys.readouterr().err


def test_the_figures_of_a_run() -> None:
    result = run_network(RsnnSystem(SMALL, toy().first(8), epochs=1, backend="numpy"))
    drawn = result.figures()
    assert set(drawn) == {"loss", "confusion"}
    shares = drawn["confusion"].axes[0].images[0].get_array()
    assert shares is not None
    np.testing.assert_allclose(np.asarray(shares).sum(axis=1), 1.0)
