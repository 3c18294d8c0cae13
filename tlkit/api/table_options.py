"""The options that say how a table is to be understood, declared once for all commands that take one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tlkit.api.train.keywords import refuse_unknown
from tlkit.images.table.columns import Columns
from tlkit.plan.option import TABLE, declared, option

Options = TypeVar("Options", bound="FileOptions")


def of_table(**said: Any) -> Any:
    """Declare an option of tables; ``recommend`` takes it too, and no plan decides it."""
    return option(None, group=TABLE, advisor=True, **said)


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """Where a table's files are."""

    file_column: str | None = of_table(
        help="Take the files from this column.", metavar="NAME", if_none="file_name, path, image, id and the like"
    )
    root: str | None = of_table(
        help="Let the table's paths start from this folder.", metavar="DIR", is_path=True, if_none="the table's own"
    )

    @property
    def columns(self) -> Columns:
        """The options as `tlkit.images` takes them."""
        return Columns(file=self.file_column, root=None if self.root is None else Path(self.root))

    @classmethod
    def of(cls: type[Options], verb: str, given: Mapping[str, Any]) -> Options:
        """Make options from the keyword arguments of a function.

        Args:
            verb: The function's name.
            given: The keyword arguments: text, or for ``root`` also a `Path`.

        Raises:
            TypeError: There is no such option.
        """
        options = declared(cls)
        refuse_unknown(verb, given, options)
        return cls(**{name: options[name].plain(value) for name, value in given.items()})

    def given(self) -> dict[str, str]:
        """Return the options that are given, as keyword arguments."""
        return {name: value for name in declared(type(self)) if (value := getattr(self, name)) is not None}

    def table_words(self) -> list[str]:
        """Return the words that give these options on a command line."""
        options = declared(TableOptions if isinstance(self, TableOptions) else FileOptions)
        return [word for name, its in options.items() for word in its.words(getattr(self, name))]


@dataclass(frozen=True, kw_only=True)
class TableOptions(FileOptions):
    """Where a table's files are, and which columns say what of them."""

    label_column: str | None = of_table(
        help="Take the labels from this column.", metavar="NAME", if_none="label, class, species and the like"
    )
    split_column: str | None = of_table(
        help="Take train, val or test from this column; none: from no column.", metavar="NAME", if_none="split, if any"
    )
    group_column: str | None = of_table(
        help="Keep images with the same value in this column on one side of every split; none: from no column.",
        metavar="NAME",
        if_none="group, if any",
    )

    @property
    def columns(self) -> Columns:
        """The options as `tlkit.images` takes them."""
        return Columns(
            self.label_column,
            self.file_column,
            self.split_column,
            self.group_column,
            None if self.root is None else Path(self.root),
        )
