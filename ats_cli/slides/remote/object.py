"""Find the remote object of a URL. Requests run in fsspec's event loop."""

from __future__ import annotations

from ats_cli.errors import SlideError
from ats_cli.slides.remote.answer import RemoteObject
from ats_cli.slides.remote.fsspec_object import FsspecObject
from ats_cli.slides.remote.http_object import HttpObject
from ats_cli.slides.remote.path import RemotePath
from ats_cli.slides.remote.s3_object import S3Object, s3_filesystem

_EXTRAS = {"http": "http", "https": "http", "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
_EXTRAS |= {"az": "az", "abfs": "az", "abfss": "az", "adl": "az"}


def remote_object(path: RemotePath) -> RemoteObject:
    """Return the object at a URL, without any request. Raises SlideError if a library is missing."""
    import fsspec

    extra = _EXTRAS.get(path.scheme)
    try:
        if extra == "http":
            return HttpObject(path, fsspec.filesystem(path.scheme))
        if extra == "s3":
            return S3Object(path, s3_filesystem(path.scheme))
        fsspec.get_filesystem_class(path.scheme)
    except ImportError:
        how = f"pip install 'ats-cli[{extra}]'" if extra else f"Install what fsspec needs for {path.scheme}://"
        raise SlideError(f"{path.scheme}:// needs a library that is not here. {how}.") from None
    except ValueError:
        raise SlideError(
            f"{path.scheme}:// is no kind of URL that is read. Use https://, s3://, gs:// or az://."
        ) from None
    try:
        filesystem, place = fsspec.core.url_to_fs(path.url, use_listings_cache=False)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise SlideError(
            f"{path.scheme}:// could not be set up ({reason.rstrip('.')}). Check the URL, the credentials "
            "and fsspec's settings."
        ) from None
    return FsspecObject(path, filesystem, place)
