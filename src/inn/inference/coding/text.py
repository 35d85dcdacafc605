"""A text in as many bits as a model finds in it, and back, byte for byte."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from inn.data.base import Vocabulary
from inn.inference.coding.ranges import TOTAL, RangeDecoder, RangeEncoder, shares_of, whole_shares
from inn.inference.learning import Learner, Learning, Reader, shares
from inn.models.inn import RECALL
from inn.models.names import blocks_of, filed
from inn.models.sequence import SequenceModel
from inn.nn.modes import as_tokens, device_of, evaluating
from inn.registry import READERS
from inn.system.device import machine_memory, using_threads
from inn.system.errors import InputError

MAGIC, FORMAT, STORED, TOGETHER, PORTABLE = b"INNT", 1, 2, 3, 4
"""A file is of format `STORED` where the text itself is shorter than what the model would make of it, of format
`TOGETHER` where streams share their tables or the model learns while it reads: it then says how, behind the header; and
`PORTABLE` where any machine reads it: behind the header it says by which arithmetic, and whether tables are shared."""
_HEADER = struct.Struct("<4sB16s4s16sHQ")  # magic, format, model, rounding, text, streams, symbols
_LEARNING = struct.Struct("<ddH")  # rate, average, window; 0 where nothing is learned
_PORTABLE = struct.Struct("<BB")  # version of the arithmetic; whether streams share their tables
_CHECK = struct.Struct("<I")  # crc32 of the header and of what follows
_PROBE = 32


@dataclass(frozen=True)
class Packed:
    """A compressed text.

    Attributes:
        content: the file.
        symbols: of the text.
        model_bits: what the model's own predictions add up to, the first symbol of every stream (at log2 of the
            vocabulary's size) included: the least that any coder could write.
    """

    content: bytes
    symbols: int
    model_bits: float


def compress_text(
    model: SequenceModel,
    data: bytes,
    *,
    streams: int = 1,
    learn: Learning | None = None,
    portable: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Packed:
    """Write a text in the bits that a model needs to predict it.

    The model reads symbol by symbol (`step_`), from a fresh state, on one thread, exactly as `decompress_text` will.
    All of the text is held in memory.

    Args:
        model: with a `vocabulary`.
        data: any bytes that the vocabulary spells exactly: a vocabulary of bytes spells all.
        streams: parts of the text that are read side by side. More are faster and cost size: each starts from an empty
            state. What they recall is one for all where the kind of recall can (`Recall.shares`), and else of their own
            part.
        learn: how a copy of the model learns from what it has written, and the one that decompresses from what it has
            read (`inn.inference.learning.Learner`); None: the model stays as it is.
        portable: whether the predictions are whole numbers that are the same on every machine
            (`inn.export.exact.reader.Portable`), so that any reads the file; else one that computes alike.
        progress: called with (symbols written, symbols to write) now and then.

    Raises `InputError` for a model without a vocabulary or with predictions that are no numbers, a text that would not
    come back byte for byte, streams outside 1 to 65,535, and, where it has to be portable, for a model that learns, or
    that has a part which no plain program expresses.

    Example: ``compress_text(inn.load("runs/demo"), Path("notes.txt").read_bytes()).content``
    """
    vocabulary = _vocabulary(model)
    if not 1 <= streams < 1 << 16:
        raise InputError(f"streams must be between 1 and 65,535, not {streams}")
    symbols = _spelt(vocabulary, data)
    predictions = _Predictions(model, streams, learn, portable=portable)
    predictions.check_room(len(symbols))
    steps = math.ceil(len(symbols) / streams)
    rows = np.zeros((streams, steps), dtype=np.int64)
    rows.reshape(-1)[: len(symbols)] = symbols
    encoder, bits = RangeEncoder(), 0.0
    with _alike(model):
        for at, (counts, chances) in enumerate(predictions.over(rows, steps)):
            starts = np.cumsum(counts, axis=1) - counts
            for row in _active(len(symbols), streams, steps, at):
                symbol = rows[row, at]
                encoder.put(int(starts[row, symbol]), int(counts[row, symbol]))
                bits -= math.log2(max(chances[row, symbol], 5e-324))
            _tell(progress, at, steps, len(symbols))
        rounding = predictions.rounding()
    form, digest = predictions.form, _text_digest(data)
    header = _HEADER.pack(MAGIC, form, model_digest(model), rounding, digest, streams, len(symbols))
    if form == TOGETHER:
        header += _LEARNING.pack(*((learn.rate, learn.average, learn.window) if learn is not None else (0.0, 0.0, 0)))
    elif predictions.portable is not None:
        header += _PORTABLE.pack(predictions.portable.version, predictions.together)
    return Packed(_checked(header, encoder.finish()), len(symbols), bits)


def stored(packed: Packed, data: bytes) -> Packed:
    """The text itself, under the same header, where what was made of it is longer; else what was made of it."""
    if len(packed.content) <= _HEADER.size + _CHECK.size + len(data):
        return packed
    fields = _HEADER.unpack(packed.content[: _HEADER.size])
    return replace(packed, content=_checked(_HEADER.pack(fields[0], STORED, *fields[2:]), data))


def _checked(header: bytes, payload: bytes) -> bytes:
    return header + _CHECK.pack(zlib.crc32(payload, zlib.crc32(header))) + payload


def decompress_text(
    model: SequenceModel, content: bytes, *, progress: Callable[[int, int], None] | None = None
) -> bytes:
    """Undo `compress_text`, with the same model, on a machine that computes alike; any is, if the file is portable.

    Raises `InputError` for what is damaged, cut short or no such file, for another model than the one it was written
    with, and where this machine rounds the model's predictions otherwise than the one that wrote it.

    Example: ``decompress_text(inn.load("runs/demo"), Path("notes.inn").read_bytes())``
    """
    vocabulary, size = _vocabulary(model), _HEADER.size
    if content[: len(MAGIC)] != MAGIC[: len(content)] or not content:
        raise InputError("it is not a text that inn has compressed")
    form = content[len(MAGIC)] if len(content) > len(MAGIC) else FORMAT
    if form not in (FORMAT, STORED, TOGETHER, PORTABLE):
        raise InputError(f"it is of format {form}; this version of inn reads {FORMAT} to {PORTABLE}")
    size += {TOGETHER: _LEARNING.size, PORTABLE: _PORTABLE.size}.get(form, 0)
    body = size + _CHECK.size
    header, payload = content[:size], content[body:]
    if len(content) < body or content[size:body] != _CHECK.pack(zlib.crc32(payload, zlib.crc32(header))):
        raise InputError("it is damaged or cut short: its checksum does not fit; get it again")
    _, _, digest, rounding, text, streams, length = _HEADER.unpack(header[: _HEADER.size])
    if digest != model_digest(model):
        raise InputError(
            f"it was compressed with another model ({digest.hex()[:8]}) than this one "
            f"({model_digest(model).hex()[:8]}); give the run that wrote it"
        )
    if form == STORED:
        return _same(payload, text)
    rate, average, window = _LEARNING.unpack(header[_HEADER.size :]) if form == TOGETHER else (0.0, 0.0, 0)
    version, together = _PORTABLE.unpack(header[_HEADER.size :]) if form == PORTABLE else (None, form == TOGETHER)
    learn = Learning(rate, window, average) if window else None
    predictions = _Predictions(model, streams, learn, bool(together), portable=form == PORTABLE)
    if predictions.portable is not None and version != predictions.portable.version:
        raise InputError(
            f"it is portable, by arithmetic of version {version}; this version of inn has "
            f"{predictions.portable.version}; read it with the one that wrote it"
        )
    predictions.check_room(length)
    steps = math.ceil(length / streams)
    rows, decoder = np.zeros((streams, steps), dtype=np.int64), RangeDecoder(payload)
    with _alike(model):
        if rounding != predictions.rounding():
            raise InputError(
                "the model's predictions are rounded otherwise here than where it was compressed; "
                "use the same kind of machine, with the same version of torch"
                + (", and report it, since the file is portable" if form == PORTABLE else "")
            )
        for at, (counts, _) in enumerate(predictions.over(rows, steps)):
            ends = np.cumsum(counts, axis=1)
            for row in _active(length, streams, steps, at):
                rows[row, at] = decoder.get(ends[row])
            if decoder.beyond:
                raise InputError(f"it is damaged: it ends after {at * streams:,} of the {length:,} symbols it declares")
            _tell(progress, at, steps, length)
    return _same(vocabulary.decode_bytes(rows.reshape(-1)[:length]), text)


def _same(data: bytes, digest: bytes) -> bytes:
    """What came out of a file, where it is what went in."""
    if _text_digest(data) != digest:
        raise InputError("what came out is not the text that went in: the model's predictions differed on the way")
    return data


class _Predictions:
    """What the model expects of every stream, step by step, as shares for the coder.

    `together`: whether the streams share what they recall; None where they can and it makes a difference.
    """

    def __init__(
        self,
        model: SequenceModel,
        streams: int,
        learn: Learning | None = None,
        together: bool | None = None,
        portable: bool = False,
    ):
        if portable and learn is not None:
            raise InputError(
                "what a model learns as it reads differs from machine to machine in the last bits of its gradients; "
                "leave --portable out, or --learn"
            )
        if together is None:
            together = streams > 1 and shares(model)
        self.model, self.streams, self.learn, self.together = model, streams, learn, together
        self.vocab: int = model.config.vocab
        with evaluating(model):
            self.portable = READERS["portable"](model) if portable else None

    @property
    def form(self) -> int:
        """The format of a file that is written so."""
        if self.portable is not None:
            return PORTABLE
        return FORMAT if self.learn is None and not self.together else TOGETHER

    def check_room(self, length: int) -> None:
        """Raise `InputError` for more streams and symbols than this machine has the memory for."""
        if not self.streams:
            raise InputError("it is damaged: it says that it has no streams")
        one = {key: t.numel() * t.element_size() for key, t in self.model.initial_state(1).items()}
        once = one.pop((RECALL, "table"), 0) if self.together and shares(self.model) else 0
        room, most = 8 * length + once + self.streams * sum(one.values()), machine_memory()
        if most is not None and room > most:
            raise InputError(
                f"{length:,} symbols in {self.streams:,} streams take {room / 1e9:,.1f} GB, more than this "
                f"machine's {most / 1e9:,.1f}; use fewer streams"
            )

    def over(self, rows: np.ndarray, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield shares and probabilities `[streams, V]` before each symbol of `rows`, read only then."""
        if self.portable is not None:
            odds, read = np.ones((self.streams, self.vocab)), self.portable.reader(self.streams, self.together)
            for at in range(steps):
                odds = read(rows[:, at - 1]) if at else odds
                if not np.isfinite(odds).all():
                    raise InputError("nothing can be compressed with this model: the model predicts what is no number")
                counts = shares_of(odds.astype(np.int64))
                yield counts, counts / TOTAL
            return
        if self.learn is None:
            reader = Reader(self.model, self.streams, together=self.together)
        else:
            reader = Learner(self.model, self.learn, self.streams, together=self.together)
        device = device_of(self.model)
        logits = np.zeros((self.streams, self.vocab))  # of the first symbols nothing is known
        for at in range(steps):
            if at:
                logits = reader.step(as_tokens(rows[:, at - 1], device)).float().cpu().numpy()
            try:
                yield whole_shares(logits)
            except ValueError as error:
                raise InputError(f"nothing can be compressed with this model: {error}") from None

    def rounding(self) -> bytes:
        """4 bytes that differ where a machine rounds the predictions otherwise, as far as a few steps can show."""
        window = 0 if self.learn is None else self.learn.window
        steps = window + 2 if _PROBE <= window < 4 * _PROBE else _PROBE  # where it can be, one that it learns in
        rows = (np.arange(self.streams * steps) * 7919 % self.vocab).reshape(self.streams, steps)
        digest = hashlib.sha256()
        for counts, _ in self.over(rows, steps):
            digest.update(counts.astype("<i8").tobytes())
        return digest.digest()[:4]


def model_digest(model: SequenceModel) -> bytes:
    """16 bytes that tell a model from any other: of its settings, its vocabulary and every number it holds."""
    digest = hashlib.sha256(json.dumps(asdict(model.config), sort_keys=True).encode())
    digest.update(_vocabulary(model).to_json().encode())
    for block in blocks_of({filed(name): t for name, t in model.state_dict().items()}):
        digest.update(block)
    return digest.digest()[:16]


@contextmanager
def _alike(model: SequenceModel) -> Iterator[None]:
    """Compute as ever: in evaluation mode, without gradients, on one thread, so that sums are taken in one order."""
    off = torch.autocast(device_of(model).type, enabled=False)
    with using_threads(1), evaluating(model), torch.no_grad(), off:
        yield


def _active(length: int, streams: int, steps: int, at: int) -> range:
    """The streams that have a symbol at this step; the last ones may be shorter."""
    return range(min(streams, max(0, math.ceil((length - at) / steps))))


def _vocabulary(model: SequenceModel) -> Vocabulary:
    if model.vocabulary is None:
        raise InputError("this model has no vocabulary to read with; load a run, or set model.vocabulary")
    return model.vocabulary


def _spelt(vocabulary: Vocabulary, data: bytes) -> np.ndarray:
    """The symbols of a text; raises `InputError` where they would not give its bytes back."""
    try:
        symbols = vocabulary.encode(data, "skip")
    except InputError:  # not UTF-8
        symbols = vocabulary.encode(data.decode("utf-8", "ignore"), "skip")
    back = vocabulary.decode_bytes(symbols)
    if back != data:
        at = next((i for i, (a, b) in enumerate(zip(data, back)) if a != b), min(len(data), len(back)))
        there = f" (0x{data[at]:02x})" if at < len(data) else ""
        raise InputError(
            f"this model's {vocabulary!r} do not spell the text exactly: byte {at:,}{there} would not come back; "
            "use a run that reads bytes (--data.vocabulary bytes)"
        )
    return symbols


def _text_digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


def _tell(progress: Callable[[int, int], None] | None, at: int, steps: int, symbols: int) -> None:
    if progress is not None and (at % 64 == 0 or at == steps - 1):
        progress(symbols * (at + 1) // steps, symbols)
