"""Speech as frames with phones: a free stand-in that ``flite`` speaks, a user's copy of TIMIT, and files of features.

Features are 13 mel-frequency cepstra of windows of 25 ms every 10 ms with their first and second differences, 39 in all
(HTK's way: pre-emphasis 0.97, Hamming window, 26 triangles, liftering 22), and a frame's phone is that at its middle.
They are normalised on the training utterances.

``flite`` (Debian's package) prints each phone with the time of its end. Its sentences are drawn from a grammar of our
own with a seed; two voices train and are tested on new sentences, and a third one is not heard before the test.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.errors import EngineMissing, InputError, SimulationError, Where

FRAME, WINDOW = 0.010, 0.025  # s
TRIANGLES, CEPSTRA, LIFTER, EMPHASIS, REACH = 26, 13, 22, 0.97, 2
VOICES, UNSEEN = ("slt", "rms"), "awb"
SLOW = 60.0  # s, after which flite hangs
APART = 0.5  # s that phones and sound may end apart: our choice

_WHO = "my brother|the old teacher|a young doctor|our neighbour|the tall fisherman|her cousin|that boy|a strange bird"
_DID = "found|watched|painted|carried|measured|forgot|bought|followed|described|pushed|cleaned|heard"
_WHAT = (
    "a yellow boat|the heavy box|five small oysters|his leather jacket|the broken machine|some fresh cheese|a huge "
    "elephant|the wrong key|two thousand books|an ancient clock|the other puzzle|a cup of coffee"
)
_WHERE = (
    "near the bridge|in the garden|behind the school|on a cold Thursday morning|under the table|at the village shop|"
    "before the judge arrived|without any noise|through the thick fog|beyond the northern hills"
)
WORDS = tuple(tuple(part.split("|")) for part in (_WHO, _DID, _WHAT, _WHERE))
_PHONES = (
    "aa ae ah ao aw ax ax-h axr ay b bcl ch d dcl dh dx eh el em en eng epi er ey f g gcl h# hh hv ih ix iy jh k kcl l "
    "m n ng nx ow oy p pau pcl q r s sh t tcl th uh uw ux v w y z zh"
)
# Of the standard split: the 24 speakers of the core test.
_CORE = (
    "MDAB0 MWBT0 FELC0 MTAS1 MWEW0 FPAS0 MJMP0 MLNT0 FPKT0 MLLL0 MTLS0 FJLM0 MBPM0 MKLT0 FNLP0 MCMJ0 MJDH0 FMGD0 MGRT0 "
    "MNJM0 FDHC0 MJLN0 MPAM0 FMLD0"
)
TIMIT, CORE = tuple(_PHONES.split()), tuple(_CORE.split())
WHOLE = {"TRAIN": 3696, "TEST": 192}  # utterances of TIMIT's 462 training and 24 core test speakers, without SA


@dataclass(frozen=True, eq=False)
class Utterance:
    """``features`` (frames, 39) and ``phones`` (frames,), their places in a table."""

    features: Array
    phones: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Speech:
    """Utterances to train on, new ones by the same speakers or of the test set, and those of voices not heard before.

    Args:
        name: of the data.
        phones: the table.
        train, test, unseen: utterances; there may be none of unseen voices.
        tested: what ``test`` holds, in words.
        notes: what a reader of results has to know of the data, as sentences.
    """

    name: str
    phones: tuple[str, ...]
    train: tuple[Utterance, ...]
    test: tuple[Utterance, ...]
    unseen: tuple[Utterance, ...] = ()
    tested: str = "new sentences"
    notes: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all of it."""
        digest = hashlib.sha256("\n".join((self.name, *self.phones)).encode())
        for part in (self.train, self.test, self.unseen):
            for one in part:
                digest.update(np.ascontiguousarray(one.features).tobytes() + one.phones.tobytes())
        return digest.hexdigest()

    @property
    def frames(self) -> int:
        """Of the training utterances."""
        return sum(len(one.phones) for one in self.train)

    def first(self, count: int) -> Speech:
        """With ``count`` training utterances; raises `InputError` for less than one."""
        if count < 1:
            raise InputError(f"{count} utterances are nothing to train on", remedy="give 1 or more")
        return replace(self, train=self.train[:count])

    def held_out(self, count: int) -> Speech:
        """With the last ``count`` training utterances in place of the test: to choose settings by, so that the test
        stays unseen. Features stay normalised over all of the training. Raises `InputError` where none would be left.
        """
        if not 0 < count < len(self.train):
            raise InputError(
                f"{count} of {len(self.train)} training utterances cannot be held out",
                remedy=f"give a number of 1..{len(self.train) - 1}",
            )
        return replace(
            self, name=f"{self.name}, {count} training utterances held out", train=self.train[:-count],
            test=self.train[-count:], unseen=(), tested="held-out training utterances",
        )  # fmt: skip

    def pieces(self, frames: int) -> Speech:
        """With the training utterances in pieces of about ``frames`` frames, each as long as the others of its
        utterance; raises `InputError` for less than one frame.
        """
        if frames < 1:
            raise InputError(f"a piece of {frames} frames holds nothing", remedy="give 1 or more")
        found = []
        for one in self.train:
            count = max(round(len(one.phones) / frames), 1)
            found += [Utterance(*both) for both in zip(
                np.array_split(one.features, count), np.array_split(one.phones, count), strict=True
            )]  # fmt: skip
        return replace(self, name=f"{self.name} in pieces of {frames} frames", train=tuple(found))


def mfcc(wave: Array, rate: int) -> Array:
    """(frames, 39) features of a wave (n,) at ``rate`` (Hz).

    Raises `InputError` for one that is shorter than a window, has several channels, or is silent throughout.
    """
    from scipy.fft import dct

    width, hop = round(WINDOW * rate), round(FRAME * rate)
    if wave.ndim != 1:
        raise InputError(f"the sound has {wave.shape[-1]} channels", remedy="give one channel")
    if wave.size < width:
        raise InputError(f"a sound of {wave.size / rate:g} s is shorter than a window of {WINDOW:g} s")
    if not wave.any():
        raise InputError("the sound is silent throughout")
    wave = np.append(wave[0], wave[1:] - EMPHASIS * wave[:-1]).astype(float)
    windows = np.lib.stride_tricks.sliding_window_view(wave, width)[::hop]
    size = 1 << (width - 1).bit_length()
    power = np.abs(np.fft.rfft(windows * np.hamming(width), size)) ** 2 / size
    mels = np.linspace(0.0, 2595.0 * np.log10(1.0 + rate / 1400.0), TRIANGLES + 2)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    at = np.fft.rfftfreq(size, 1.0 / rate)
    left, middle, right = (edges[k : k + TRIANGLES, None] for k in range(3))
    bank = np.maximum(0.0, np.minimum((at - left) / (middle - left), (right - at) / (right - middle)))
    cepstra = dct(np.log(power @ bank.T + 1e-10 * power.mean()), norm="ortho")[:, :CEPSTRA]
    cepstra *= 1.0 + 0.5 * LIFTER * np.sin(np.pi * np.arange(CEPSTRA) / LIFTER)
    first = _difference(cepstra)
    found: Array = np.hstack([cepstra, first, _difference(first)])
    return found


def _difference(values: Array) -> Array:
    """The slope over `REACH` frames on both sides."""
    padded = np.pad(values, ((REACH, REACH), (0, 0)), mode="edge")
    n = len(values)
    ways = [k * (padded[REACH + k : REACH + k + n] - padded[REACH - k : REACH - k + n]) for k in range(1, REACH + 1)]
    found: Array = np.sum(ways, axis=0) / (2.0 * sum(k * k for k in range(1, REACH + 1)))
    return found


def labels(count: int, ends: Sequence[float], phones: Sequence[int]) -> NDArray[np.int64]:
    """(count,) the phone at the middle of each frame, of phones that end at ``ends`` (s)."""
    middles = np.arange(count) * FRAME + WINDOW / 2
    return np.asarray(phones, dtype=np.int64)[np.minimum(np.searchsorted(ends, middles, side="right"), len(ends) - 1)]


def normalised(parts: Sequence[Sequence[Utterance]]) -> list[tuple[Utterance, ...]]:
    """With mean 0 and deviation 1 over the first part."""
    whole = np.concatenate([one.features for one in parts[0]])
    mean, deviation = whole.mean(axis=0), whole.std(axis=0)
    return [tuple(Utterance((one.features - mean) / deviation, one.phones) for one in part) for part in parts]


# -- the stand-in ------------------------------------------------------------------------------------------------------


def sentences(count: int, *, seed: int = 0) -> list[str]:
    """``count`` different sentences; raises `InputError` where the grammar has fewer."""
    most = int(np.prod([len(words) for words in WORDS]))
    if not 1 <= count <= most:
        raise InputError(f"{count} sentences cannot be drawn", remedy=f"give a number of 1..{most}")
    chosen = np.random.default_rng(seed).choice(most, count, replace=False)
    found = []
    for number in chosen.tolist():
        words = []
        for part in WORDS:
            number, place = divmod(number, len(part))
            words.append(part[place])
        found.append(" ".join(words).capitalize() + ".")
    return found


def stand_in(count: int = 80, *, seed: int = 0, tell: Callable[[str], None] = lambda _: None) -> Speech:
    """``count`` sentences by each of three voices of ``flite``; a fifth of them, and the third voice, are for tests.

    Raises `EngineMissing` without flite, and `InputError` for fewer than 2 sentences.
    """
    if count < 2:
        raise InputError(f"{count} sentence is not enough to learn and to be tested on", remedy="give 2 or more")
    program = shutil.which("flite")
    if program is None:
        raise EngineMissing("flite is not installed, which speaks the free data", remedy="apt-get install flite")
    spoken: dict[tuple[str, int], tuple[Array, list[str], list[float]]] = {}
    texts = sentences(count, seed=seed)
    for voice in (*VOICES, UNSEEN):
        for k, text in enumerate(texts):
            tell(f"{voice}: {k + 1} of {count}")
            spoken[voice, k] = _spoken(program, voice, text)
    phones = tuple(sorted({phone for _, names, _ in spoken.values() for phone in names}))
    first_test = min(max(round(0.8 * count), 1), count - 1)

    def made(voice: str, k: int) -> Utterance:
        features, names, ends = spoken[voice, k]
        return Utterance(features, labels(len(features), ends, [phones.index(name) for name in names]))

    new = range(first_test, count)
    parts = [
        [made(voice, k) for k in range(first_test) for voice in VOICES],
        [made(voice, k) for k in new for voice in VOICES],
        [made(UNSEEN, k) for k in new],
    ]
    train, test, unseen = normalised(parts)
    return Speech(f"flite, {count} sentences", phones, train, test, unseen)


def _spoken(program: str, voice: str, text: str) -> tuple[Array, list[str], list[float]]:
    from scipy.io import wavfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "spoken.wav"
        try:
            done = subprocess.run(
                [program, "-voice", voice, "-psdur", "-t", text, "-o", str(file)],
                capture_output=True, text=True, timeout=SLOW, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            said = f"flite did not end within {SLOW:.0f} s with the voice {voice}"
            raise SimulationError(said, outcome="timed out") from None
        if done.returncode or not file.is_file():
            raise SimulationError(f"flite did not speak with the voice {voice}: {done.stderr[:200]}", outcome="crashed")
        rate, wave = wavfile.read(file)
    pairs = [entry.rpartition(":") for entry in done.stdout.split()]
    return mfcc(wave, rate), [name for name, _, _ in pairs], [float(end) for _, _, end in pairs]


# -- TIMIT -------------------------------------------------------------------------------------------------------------


def timit(folder: str | Path) -> Speech:
    """A user's copy of TIMIT: the training speakers, and the 24 of the core test, without the sentences SA1 and SA2.

    A copy with fewer utterances than TIMIT has gets a note. Raises `InputError` for a folder without them, an utterance
    without phones, or a phone that the table lacks.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputError(f"there is no folder {place}", remedy="give the folder of TIMIT that holds TRAIN and TEST")
    found: dict[str, list[Utterance]] = {"TRAIN": [], "TEST": []}
    speakers, rates = set(), dict[str, int]()
    for part, utterances in found.items():
        sides = [entry for entry in place.iterdir() if entry.name.upper() == part and entry.is_dir()]
        if not sides:
            raise InputError(
                f"{place} has no folder {part}", remedy="give the folder of TIMIT that holds TRAIN and TEST"
            )
        for file in sorted(_phone_files(sides[0])):
            if part == "TEST" and file.parent.name.upper() not in CORE:
                continue
            speakers.add(file.parent.name.upper())
            one, rate = _timit_utterance(file)
            if rate != (first := rates.setdefault("first", rate)):
                raise InputError(
                    f"the sound has {rate} samples a second, the first one of the folder {first}", where=Where(file),
                    remedy="give all of them at one rate",
                )  # fmt: skip
            utterances.append(one)
    if missing := sorted(set(CORE) - speakers):
        raise InputError(f"{place} lacks {len(missing)} of the 24 core test speakers: {', '.join(missing[:3])}, …")
    if not found["TRAIN"]:
        raise InputError(f"{place} holds no training utterance (.PHN with .WAV)")
    train, test = normalised([found["TRAIN"], found["TEST"]])
    lacks = tuple(
        f"this copy of TIMIT is not whole: {len(found[part])} of {whole} {words} utterances"
        for (part, whole), words in zip(WHOLE.items(), ("training", "core test"), strict=True)
        if len(found[part]) < whole
    )
    return Speech("TIMIT", TIMIT, train, test, tested="new sentences by new speakers", notes=lacks)


def _phone_files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.suffix.upper() == ".PHN" and file.stem.upper()[:2] != "SA")


def _timit_utterance(file: Path) -> tuple[Utterance, int]:
    """An utterance, and the rate of its sound (Hz)."""
    sound = next((file.with_suffix(end) for end in (".WAV", ".wav") if file.with_suffix(end).is_file()), None)
    if sound is None:
        raise InputError(f"{file.name} has no .WAV beside it", where=Where(file))
    wave, rate = _sound(sound)
    try:
        features = mfcc(wave, rate)
    except InputError as error:
        raise InputError(error.message, where=Where(sound), remedy=error.remedy) from None
    ends, places = [0.0], []
    for number, line in enumerate(file.read_text(encoding="ascii", errors="replace").split("\n"), start=1):
        if not line.strip():
            continue
        fields = line.split()
        if len(fields) != 3 or not fields[1].isdigit():
            raise InputError("a line of phones is 'begin end phone'", where=Where(file, number))
        if fields[2] not in TIMIT:
            raise InputError(f"the phone {fields[2]!r} is not among TIMIT's 61", where=Where(file, number))
        ends.append(int(fields[1]) / rate)
        if not ends[-1] > ends[-2]:
            raise InputError("this phone ends before it begins", where=Where(file, number))
        places.append(TIMIT.index(fields[2]))
    if not places:
        raise InputError("the file holds no phones", where=Where(file))
    if abs(ends[-1] - wave.size / rate) > APART:
        raise InputError(
            f"the phones end after {ends[-1]:g} s, and the sound after {wave.size / rate:g} s", where=Where(file),
            remedy="copy both files anew",
        )  # fmt: skip
    return Utterance(features, labels(len(features), ends[1:], places)), rate


def _sound(file: Path) -> tuple[Array, int]:
    """A wave and its rate: RIFF, or NIST's SPHERE with 16-bit samples, as TIMIT has it."""
    data = file.read_bytes()
    if data[:4] == b"RIFF":
        from scipy.io import wavfile

        try:
            rate, wave = wavfile.read(file)
        except (ValueError, struct.error, EOFError):
            raise InputError("this RIFF file cannot be read", where=Where(file), remedy="copy it anew") from None
        return np.asarray(wave, dtype=float), int(rate)
    if data[:7] != b"NIST_1A":
        raise InputError("this is neither RIFF nor NIST's SPHERE", where=Where(file))
    try:
        size = int(data[8:16])
        about = dict(
            line.split(" ", 2)[::2] for line in data[16:size].decode("ascii").split("\n") if line.count(" ") > 1
        )
        rate, order = int(about["sample_rate"]), about.get("sample_byte_format", "01")
    except (ValueError, KeyError, UnicodeDecodeError):
        raise InputError("the head of this SPHERE file cannot be read", where=Where(file)) from None
    if about.get("channel_count", "1") != "1":
        raise InputError(
            f"the sound has {about['channel_count']} channels", where=Where(file), remedy="give one channel"
        )
    if about.get("sample_coding", "pcm") != "pcm":
        raise InputError(
            f"this SPHERE file is coded as {about['sample_coding']}",
            where=Where(file),
            remedy="unpack it with w_decode",
        )
    samples = data[size:]
    kind = "<i2" if order == "01" else ">i2"
    return np.frombuffer(samples[: len(samples) // 2 * 2], dtype=kind).astype(float), rate
