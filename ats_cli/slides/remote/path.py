"""The path of a remote slide: a URL that is shown and recorded without credentials and query."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from ats_cli.errors import SlideError, without_secrets
from ats_cli.paths import user_path


@dataclass(frozen=True, repr=False)
class RemotePath:
    """A URL with the attributes of a `Path`. Only `url` has the query and the credentials.

    >>> path = RemotePath("https://me:secret@host.org/a/two%20x.svs?token=123")
    >>> str(path), path.name, path.suffix
    ('https://host.org/a/two%20x.svs', 'two x.svs', '.svs')
    """

    url: str

    def __str__(self) -> str:
        return without_secrets(self.url).rstrip("/")

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0].lower()

    @property
    def folders(self) -> tuple[str, ...]:
        """The parts before the name: host or bucket, then folders."""
        return self._parts()[:-1]

    @property
    def name(self) -> str:
        return self._parts()[-1]

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    def child(self, key: str) -> RemotePath:
        """Return the path of an object below this one, with the same query."""
        path, mark, query = self.url.partition("?")
        return RemotePath(f"{path.rstrip('/')}/{quote(key) if self._escaped else key}{mark}{query}")

    @property
    def _escaped(self) -> bool:
        return self.scheme in ("http", "https")

    def _parts(self) -> tuple[str, ...]:
        _, _, rest = str(self).partition("://")
        # Names on web servers are escaped, names in buckets are not. The same slide gets the same name in both.
        rest = unquote(rest) if self._escaped else rest
        return tuple(part for part in rest.split("/") if part) or ("",)


AnyPath = Path | RemotePath


def slide_path(place: str | os.PathLike[str] | RemotePath, folder: Path | None = None) -> AnyPath:
    """Return the path of a slide, from `folder` where it is relative, or the URL that `place` is.

    `~` at the start of a text is the home folder (`user_path`); a Path is taken as it is. Raises SlideError for half a
    URL.
    """
    if isinstance(place, RemotePath):
        return place
    text = os.fspath(place)
    if "://" not in text:
        file = user_path(text) if isinstance(place, str) else Path(text)
        return file if folder is None else folder / file
    if text.lower().startswith("file://"):
        return Path(url2pathname(urlsplit(text).path))
    path = RemotePath(text)
    if "::" in text:
        raise SlideError("a chain of file systems is not read. Give the plain URL of the slide.", name=path.name)
    if not path.name or not path.folders:
        raise SlideError(f"{path}: names no slide. Give a URL like https://host/slide.svs or s3://bucket/slide.svs.")
    return path
