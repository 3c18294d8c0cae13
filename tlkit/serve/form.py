"""Forms with files (multipart/form-data), kept in memory: what Starlette makes of one may be written to disk."""

from __future__ import annotations

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

FILE_TYPES = (b"image/", b"application/octet-stream")  # a part of such a type is a file even without a name
MAX_NAME = 200  # characters of a file's name


class FormError(ValueError):
    """What is wrong with a form.

    Args:
        message: Why, in a few words.
        is_damaged: Whether it cannot be read at all.
    """

    def __init__(self, message: str, *, is_damaged: bool) -> None:
        super().__init__(message)
        self.is_damaged = is_damaged


class TooManyFiles(FormError):  # noqa: N818  (reads like what happens)
    """A form with more files than it may have."""


def files_of(data: bytes, content_type: str, most: int) -> list[tuple[str, bytes]]:
    """Return the files of a form, each with its name, in their order.

    Args:
        data: The form.
        content_type: The whole header, with the boundary.
        most: How many files there may be.

    Raises:
        TooManyFiles: There are more.
        FormError: It is damaged, or has parts that are no files.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise FormError("its type names no boundary", is_damaged=True)
    parts = _Parts(data, most)
    try:
        parser = MultipartParser(boundary, parts.callbacks())  # type: ignore[arg-type]
        parser.write(data)
        parser.finalize()
    except FormParserError:
        raise FormError("it is damaged", is_damaged=True) from None
    if not parts.is_whole:
        raise FormError("it is cut off", is_damaged=True)
    return [(name, b"".join(chunks)) for name, chunks in parts.found]


class _Parts:
    """Collects what the parser finds."""

    def __init__(self, data: bytes, most: int) -> None:
        self.found: list[tuple[str, list[memoryview]]] = []
        self.is_whole = False
        self._whole = memoryview(data)
        self._most = most
        self._field = self._value = b""
        self._disposition = self._type = b""

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_field,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._field = self._value = self._disposition = self._type = b""

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        name = self._field.lower()
        if name == b"content-disposition":
            self._disposition = self._value
        elif name == b"content-type":
            self._type = self._value.lower()
        self._field = self._value = b""

    def _end_headers(self) -> None:
        kind, options = parse_options_header(self._disposition)
        if kind != b"form-data":
            raise FormError("a part has no Content-Disposition: form-data", is_damaged=True)
        if b"filename" not in options and not self._type.startswith(FILE_TYPES):
            raise FormError("every part of the form must be a file", is_damaged=False)
        if len(self.found) == self._most:
            raise TooManyFiles(f"more than {self._most} files", is_damaged=False)
        name = options.get(b"filename", b"").decode("utf-8", "replace")[-MAX_NAME:]
        self.found.append((name or f"images[{len(self.found)}]", []))

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        # where a boundary seemed to begin, the parser repeats its own copy
        whole = self._whole if data is self._whole.obj else memoryview(data)
        self.found[-1][1].append(whole[start:end])

    def _end(self) -> None:
        self.is_whole = True
