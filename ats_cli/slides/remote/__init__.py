"""Byte ranges of remote objects over HTTP, S3 and the file systems of fsspec."""
