"""Which files and folders are passed over, and which files are looked into, by their names."""

from __future__ import annotations

import re
from typing import Final

SYSTEM_FOLDERS: Final = frozenset(
    {
        "@eadir", "@recently-snapshot", "@recycle", "@sharebin", "@tmp", "@__thumb", "#recycle", "#snapshot",
        "$recycle.bin", "recycler", "recycled", "system volume information", "lost+found", "lost.dir", "msdownld.tmp",
        "network trash folder", "temporary items", "desktop folder", "__macosx", "__pycache__", "_gsdata_", "_vti_cnf",
    }
)  # fmt: skip
"""Folders that network drives, Windows, macOS, Android and Python make; lower case."""

SYSTEM_FILES: Final = frozenset(
    {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "zbthumbnail.info", "icon\r"}
)

# Formats of raw cameras begin like TIFFs. They, and backups of images, must not be taken for images by their content.
_OTHER_IMAGES: Final = (
    "3fr arw cr2 cr3 crw dcr dng erf iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f "
    "ai dcm eps exr fits hdr jxl nii svg svgz xcf"
)
_OTHER_FILES: Final = (
    "3gp avi m4v mkv mov mp4 mpeg mpg webm wmv aac flac m4a mp3 wav 7z bz2 gz rar tar tgz xz zip "
    "doc docx odp ods odt pdf pkl pickle ppt pptx rtf xls xlsx bin ckpt h5 hdf5 keras mat npy npz onnx pt pth tflite "
    "bak crdownload download lnk old orig part swp tmp url c cpp exe ipynb js py pyc sh"
)
_SIDECARS: Final = (
    "aae csv css cfg conf db htm html info ini json jsonl log lst md ndjson sha256 md5 thm toml tsv txt "
    "xml xmp yaml yml"
)
SIDECARS: Final = frozenset(f".{suffix}" for suffix in _SIDECARS.split())
"""Suffixes of files that describe images, which nobody misses; lower case with the dot."""

NOT_IMAGES: Final = SIDECARS | {f".{suffix}" for suffix in f"{_OTHER_IMAGES} {_OTHER_FILES}".split()}
"""Suffixes of files that are not looked into to find out whether they are images; lower case with the dot."""

_SUFFIX = re.compile(r"\.(?=[a-z0-9]*[a-z])[a-z0-9]{1,10}")
_OWN_FOLDER = re.compile(r".*\.tlkit(?:-run)?", re.DOTALL)
_LOST_CLUSTERS = re.compile(r"found\.[0-9]{3}")


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is passed over without a word: hidden, of the system, or tlkit's own."""
    if name[0] == ".":
        return not name.startswith("..")  # "..name" is not a convention for hidden files, and such classes exist
    small = name.lower()
    return (
        small in SYSTEM_FOLDERS
        or small in SYSTEM_FILES
        or _OWN_FOLDER.fullmatch(small) is not None
        or _LOST_CLUSTERS.fullmatch(small) is not None
    )


def kind_of(name: str) -> str:
    """Return a file's suffix in lower case, or "" if it has none that names a kind, as in "photo-1" or "1.jpg?w=640".

    Example:
        >>> kind_of("a/IMG_1.CR2"), kind_of("1.jpg?w=640"), kind_of("1.jpg.2")
        ('.cr2', '', '')
    """
    if name.endswith("~"):
        return ".bak"
    dot = name.rfind(".")
    suffix = name[dot:].lower() if dot > 0 else ""
    return suffix if _SUFFIX.fullmatch(suffix) else ""
