"""The answers of the stand-in for object stores: errors by their codes, and the XML of S3. Pure.

Codes, statuses and the shape of each document are those of the S3 documentation ("Error responses", "CompleteMultipart
Upload", "ListObjectsV2"). Google Cloud Storage's XML API has the same documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final
from xml.sax.saxutils import escape

from aiohttp import web

from comfyledger.sim.objects.contents import Version

ERRORS: Final[dict[str, tuple[int, str]]] = {
    "AccessDenied": (403, "Access Denied"),
    "AuthorizationHeaderMalformed": (400, "The authorization header is malformed; the region is wrong."),
    "BadDigest": (400, "The checksum you specified did not match what we received."),
    "ConditionalRequestConflict": (409, "A conflicting conditional operation is currently in progress."),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed object size."),
    "EntityTooSmall": (400, "Your proposed upload is smaller than the minimum allowed object size."),
    "ExpiredToken": (400, "The provided token has expired."),
    "IncompleteBody": (400, "You did not provide the number of bytes specified by the Content-Length HTTP header."),
    "InsufficientStorage": (507, "There is no space left on the device."),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": (403, "The AWS access key ID you provided does not exist in our records."),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidPart": (400, "One or more of the specified parts could not be found."),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "MalformedXML": (400, "The XML you provided was not well-formed."),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchUpload": (404, "The specified upload does not exist."),
    "NotImplemented": (501, "A header you provided implies functionality that is not implemented."),
    "PermanentRedirect": (301, "The bucket must be addressed using the specified endpoint."),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold"),
    "QuotaExceeded": (403, "The storage quota of this account is exceeded."),
    "RequestTimeTooSkewed": (403, "The difference between the request time and the current time is too large."),
    "RequestTimeout": (400, "Your socket connection to the server was not read from or written to in time."),
    "ServiceUnavailable": (503, "Service is unable to handle request."),
    "SignatureDoesNotMatch": (403, "The request signature we calculated does not match the signature you provided."),
    "SlowDown": (503, "Please reduce your request rate."),
    "TooManyRequests": (429, "Too many requests."),
    "XAmzContentSHA256Mismatch": (400, "The provided 'x-amz-content-sha256' header does not match what was computed."),
}
_HEADERS: Final[dict[str, dict[str, str]]] = {
    "SlowDown": {"Retry-After": "7"},
    "TooManyRequests": {"Retry-After": "7"},
    "PermanentRedirect": {"x-amz-bucket-region": "eu-central-1"},
}
_XML: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_SPACE: Final = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


class Refused(Exception):
    """An answer that is an error, by its code. `status` and `headers` differ from those of the code if they are set."""

    def __init__(self, code: str, message: str = "", status: int = 0, headers: Mapping[str, str] | None = None) -> None:
        usual, text = ERRORS.get(code, (400, code))
        super().__init__(code)
        self.code = code
        self.status = status or usual
        self.message = message or text
        self.headers = {**_HEADERS.get(code, {}), **(headers or {})}


def error_response(refused: Refused, path: str, number: int) -> web.Response:
    """The answer to a request that was refused. aiohttp sends no body to HEAD."""
    return xml_response(
        f"<Error><Code>{escape(refused.code)}</Code><Message>{escape(refused.message)}</Message>"
        f"<Resource>{escape(path)}</Resource><RequestId>{number:016X}</RequestId></Error>",
        refused.status,
        refused.headers,
    )


def xml_response(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A document."""
    return web.Response(text=_XML + text, status=status, headers=headers, content_type="application/xml")


def stored_headers(version: Version, dialect: str) -> dict[str, str]:
    """The headers of an answer about one object, without its length."""
    told = {
        **version.headers,
        "ETag": version.etag,
        "Last-Modified": format_datetime(datetime.fromtimestamp(version.created_at_s, UTC), usegmt=True),
        "Accept-Ranges": "bytes",
    }
    return {**told, "x-goog-generation": str(version.generation)} if dialect == "gcs" else told


def listing(
    bucket: str, found: Iterable[Version], folders: Iterable[str], asked: Mapping[str, str], after: str
) -> web.Response:
    """A page of a listing. `after`: the last key of a page that is not the last one."""
    contents = "".join(
        f"<Contents><Key>{escape(one.key)}</Key><LastModified>{_instant(one.created_at_s)}</LastModified>"
        f"<ETag>{escape(one.etag)}</ETag><Size>{one.size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for one in found
    )
    below = "".join(f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in folders)
    more = f"<NextContinuationToken>{after.encode().hex()}</NextContinuationToken>" if after else ""
    return xml_response(
        f"<ListBucketResult{_SPACE}><Name>{escape(bucket)}</Name><Prefix>{escape(asked.get('prefix', ''))}</Prefix>"
        f"<IsTruncated>{'true' if after else 'false'}</IsTruncated>{more}{contents}{below}</ListBucketResult>"
    )


def begun(bucket: str, key: str, upload_id: str) -> web.Response:
    """The answer to the begin of an upload in parts."""
    named = f"<Bucket>{escape(bucket)}</Bucket><Key>{escape(key)}</Key><UploadId>{upload_id}</UploadId>"
    return xml_response(f"<InitiateMultipartUploadResult{_SPACE}>{named}</InitiateMultipartUploadResult>")


def completed(bucket: str, version: Version, headers: Mapping[str, str]) -> web.Response:
    """The answer to the end of an upload in parts."""
    named = f"<Bucket>{escape(bucket)}</Bucket><Key>{escape(version.key)}</Key><ETag>{escape(version.etag)}</ETag>"
    text = f"<CompleteMultipartUploadResult{_SPACE}>{named}</CompleteMultipartUploadResult>"
    return xml_response(text, 200, headers)


def copied(version: Version) -> web.Response:
    """The answer to a copy."""
    told = f"<LastModified>{_instant(version.created_at_s)}</LastModified><ETag>{escape(version.etag)}</ETag>"
    headers = {"x-goog-generation": str(version.generation)}
    return xml_response(f"<CopyObjectResult>{told}</CopyObjectResult>", 200, headers)


def deleted(keys: Iterable[str]) -> web.Response:
    """The answer to a request that deletes several objects."""
    gone = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
    return xml_response(f"<DeleteResult{_SPACE}>{gone}</DeleteResult>")


def _instant(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
