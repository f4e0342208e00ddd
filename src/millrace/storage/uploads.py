"""Uploads to S3 that were begun and never finished: no listing of files shows them, and their parts are paid for.

What is large goes to S3 in parts, and is there when its writer says that they are all. A writer that was killed never
says so. MinIO tells of such uploads only to who names the file itself, and removes them after a day by itself.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime

from millrace.storage.probe import s3_answers, s3_client


@dataclass(frozen=True, order=True)
class Upload:
    """One upload, as the store knows it."""

    uri: str
    key: str

    def __str__(self) -> str:
        return f"{self.uri}?uploadId={self.key}"


def unfinished_uploads(folder: str, before: datetime) -> list[Upload]:
    """The uploads below a folder of S3 that were begun before a moment of the store's clock, sorted.

    Raises ServiceError or ProfileError where the store doesn't answer or refuses.
    """
    client, bucket, prefix = s3_client(folder)
    with s3_answers(folder):
        pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=f"{prefix}/")
        found = [upload for page in pages for upload in page.get("Uploads", ())]
    return sorted(
        Upload(f"s3://{bucket}/{upload['Key']}", upload["UploadId"]) for upload in found if upload["Initiated"] < before
    )


def abort_upload(upload: Upload) -> None:
    """Give up an upload: the store removes its parts. One that was finished or given up meanwhile is left alone."""
    client, bucket, name = s3_client(upload.uri)
    with s3_answers(upload.uri), contextlib.suppress(client.exceptions.NoSuchUpload):
        client.abort_multipart_upload(Bucket=bucket, Key=name, UploadId=upload.key)
