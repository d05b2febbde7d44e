"""Byte ranges of remote objects: HTTP, S3 and whatever fsspec opens."""
