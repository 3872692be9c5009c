"""Reading a pickle that holds nothing but plain values."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from groundling.data.readers.files import read_bytes
from groundling.errors import DatasetError

_OLD_MODULES = {"__builtin__": "builtins", "numpy.core.multiarray": "numpy._core.multiarray"}
_ALLOWED: dict[tuple[str, str], Any] = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("collections", "OrderedDict"): dict,
    ("_codecs", "encode"): lambda text, encoding="latin1": text.encode("latin1"),  # how Python 2's pickles write bytes
    ("numpy", "dtype"): np.dtype,
    ("numpy._core.multiarray", "scalar"): np.int64(0).__reduce__()[0],  # its module has another name in numpy 1
}


class _PlainUnpickler(pickle.Unpickler):
    """Refuses everything that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[_OLD_MODULES.get(module, module), name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def read_plain_pickle(path: Path) -> object:
    """Read a pickle of lists, dictionaries, text and numbers; numpy's numbers are allowed.

    Raises:
        DatasetError: it is missing, damaged, or holds anything else, which could be harmful.
    """
    content = read_bytes(path)
    try:
        value: object = _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises almost anything
        raise DatasetError(
            f"{path} is not a pickle of plain values ({type(error).__name__}: {error}), and no other is read. "
            "Get it again, or write it as JSON with the same layout."
        ) from error
    return value
