"""Requests that change something: objects in one request or in parts, and deletions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from html import unescape
from typing import Final
from urllib.parse import unquote

import msgspec
from aiohttp import web

from comfyledger.sim.objects.answers import Refused, begun, completed, copied, deleted
from comfyledger.sim.objects.conditions import GCS, check
from comfyledger.sim.objects.contents import Contents, Part, Upload, Version
from comfyledger.sim.objects.faults import Visit
from comfyledger.sim.objects.receive import Incoming, receive

COPY_SOURCE: Final = "x-goog-copy-source"
PART_BYTES_MIN: Final = 5 * 1024 * 1024
PART_NUMBER_MAX: Final = 10_000
_DOCUMENT_BYTES_MAX: Final = 1_048_576
_KEPT: Final = ("content-type", "cache-control", "content-disposition", "content-encoding", "content-language")
_KEPT_PREFIXES: Final = ("x-amz-meta-", "x-goog-meta-", "x-amz-server-side-encryption", "x-amz-storage-class")
_PART: Final = re.compile(r"<Part>(.*?)</Part>", re.DOTALL)
_ETAG: Final = re.compile(r"<ETag>(.*?)</ETag>", re.DOTALL)
_NUMBER: Final = re.compile(r"<PartNumber>(\d{1,5})</PartNumber>")
_KEY: Final = re.compile(r"<Key>(.*?)</Key>", re.DOTALL)


class Writing:
    """Changes of the contents of the stand-in."""

    def __init__(self, contents: Contents, dialect: str, now: Callable[[], float]) -> None:
        self._contents = contents
        self._dialect = dialect
        self._now = now
        self.ignores_conditions = False
        """As some servers do."""
        self.strict_parts = False
        """Whether a condition is refused at the begin of an upload in parts and at a part, where S3 documents none."""

    async def put(self, visit: Visit) -> web.Response:
        """Store an object that comes in one request, or is a copy. Raises Refused if its condition does not hold."""
        if self._dialect == GCS and visit.header(COPY_SOURCE):
            return self._copy(visit)
        incoming = await receive(visit, self._contents.files / str(visit.entry.number))
        try:
            version = self._store(visit, incoming, f'"{incoming.md5}"', _kept(visit))
        except Refused:
            incoming.drop()
            raise
        return web.Response(headers=self._told(version))

    async def begin(self, visit: Visit) -> web.Response:
        """Begin an upload in parts."""
        await self._document(visit)
        self._refuse_condition(visit)
        entry = visit.entry
        upload_id = hashlib.sha256(f"{entry.number}".encode()).hexdigest()[:32]
        self._contents.begin_upload(Upload(upload_id, entry.bucket, entry.key, _kept(visit), "open"))
        entry.did = "began"
        return begun(entry.bucket, entry.key, upload_id)

    async def put_part(self, visit: Visit) -> web.Response:
        """Store a part."""
        entry = visit.entry
        incoming = await receive(visit, self._contents.files / str(entry.number))
        try:
            self._refuse_condition(visit)
            upload = self._open(visit)
            number = int(entry.query.get("partNumber", "0"))
            if not 1 <= number <= PART_NUMBER_MAX:
                raise Refused("InvalidArgument", "Part number must be an integer between 1 and 10000")
        except Refused:
            incoming.drop()
            raise
        etag = f'"{incoming.md5}"'
        self._contents.put_part(Part(upload.id, number, incoming.size, etag, incoming.path.name))
        entry.did = "part"
        return web.Response(headers={"ETag": etag})

    async def complete(self, visit: Visit) -> web.Response:
        """Make an object of the parts that the request lists."""
        document = await self._document(visit)
        upload = self._open(visit)
        parts = self._listed(upload, document)
        incoming = Incoming(self._contents.files / str(visit.entry.number))
        for part in parts:
            incoming.write((self._contents.files / part.file).read_bytes())
        incoming.close()
        digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
        etag = f'"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"'
        version = self._store(visit, incoming, etag, upload.headers)
        self._contents.end_upload(upload.id, "completed")
        return completed(visit.entry.bucket, version, self._told(version))

    async def abort(self, visit: Visit) -> web.Response:
        """Forget an upload in parts."""
        visit.withhold()
        self._contents.end_upload(self._open(visit).id, "aborted")
        visit.entry.did = "aborted"
        return web.Response(status=204)

    async def delete(self, visit: Visit) -> web.Response:
        """Delete an object. S3 does not say whether there was one; Google does."""
        visit.withhold()
        entry = visit.entry
        self._check(visit)
        is_gone = self._contents.delete(entry.bucket, entry.key)
        entry.did = "deleted" if is_gone else ""
        if self._dialect == GCS and not is_gone:
            raise Refused("NoSuchKey")
        return web.Response(status=204)

    async def delete_many(self, visit: Visit) -> web.Response:
        """Delete the objects that the request lists."""
        document = await self._document(visit)
        keys = [unescape(key) for key in _KEY.findall(document)]
        gone = [self._contents.delete(visit.entry.bucket, key) for key in keys]
        visit.entry.did = "deleted" if any(gone) else ""
        return deleted(keys)

    def _store(self, visit: Visit, incoming: Incoming, etag: str, headers: dict[str, str]) -> Version:
        entry = visit.entry
        before = self._check(visit)
        entry.did = "overwrote" if before else "created"
        version = Version(
            generation=0,
            bucket=entry.bucket,
            key=entry.key,
            size=incoming.size,
            etag=etag,
            sha256=incoming.sha256,
            md5=incoming.md5,
            file=incoming.path.name,
            headers=headers,
            created_at_s=self._now(),
            request=entry.number,
        )
        return self._contents.put(version)

    def _copy(self, visit: Visit) -> web.Response:
        """Copy an object with its metadata, as Google has it. The condition is one on the target.

        Source: cloud.google.com/storage/docs/xml-api/put-object-copy.
        """
        visit.withhold()
        bucket, _, key = unquote(visit.header(COPY_SOURCE)).partition("/")
        source = self._contents.find(bucket, key)
        if source is None:
            raise Refused("NoSuchKey")
        entry = visit.entry
        entry.did = "overwrote" if self._check(visit) else "created"
        target = msgspec.structs.replace(
            source, generation=0, bucket=entry.bucket, key=entry.key, created_at_s=self._now(), request=entry.number
        )
        return copied(self._contents.put(target))

    def _check(self, visit: Visit) -> Version | None:
        """What has the name now. Raises Refused if the condition of the request does not hold.

        Google knows no conditions for uploads in parts.
        """
        entry = visit.entry
        there = self._contents.find(entry.bucket, entry.key)
        if not self.ignores_conditions and not (self._dialect == GCS and "uploadId" in entry.query):
            check(entry.condition, there)
        return there

    def _refuse_condition(self, visit: Visit) -> None:
        if self.strict_parts and visit.entry.condition:
            raise Refused("NotImplemented")

    def _open(self, visit: Visit) -> Upload:
        upload = self._contents.upload(visit.entry.query.get("uploadId", ""))
        if upload is None or upload.state != "open" or upload.key != visit.entry.key:
            raise Refused("NoSuchUpload")
        return upload

    def _listed(self, upload: Upload, document: str) -> list[Part]:
        """The parts that the document lists. Raises Refused unless all have arrived, in order and large enough."""
        there = self._contents.parts(upload.id)
        found: list[Part] = []
        for text in _PART.findall(document):
            number, etag = _NUMBER.search(text), _ETAG.search(text)
            part = there.get(int(number[1])) if number else None
            if part is None or etag is None or unescape(etag[1]).strip('"') != part.etag.strip('"'):
                raise Refused("InvalidPart")
            found.append(part)
        if not found:
            raise Refused("MalformedXML")
        if [part.number for part in found] != sorted({part.number for part in found}):
            raise Refused("InvalidPartOrder")
        if any(part.size < PART_BYTES_MIN for part in found[:-1]):
            raise Refused("EntityTooSmall")
        return found

    async def _document(self, visit: Visit) -> str:
        incoming = await receive(visit, self._contents.files / f"{visit.entry.number}.xml")
        try:
            if incoming.size > _DOCUMENT_BYTES_MAX:
                raise Refused("MalformedXML")
            return incoming.path.read_text(encoding="utf-8", errors="replace")
        finally:
            incoming.drop()

    def _told(self, version: Version) -> dict[str, str]:
        google = {"x-goog-generation": str(version.generation)} if self._dialect == GCS else {}
        return {"ETag": version.etag, **google}


def _kept(visit: Visit) -> dict[str, str]:
    """What is answered with the object later."""
    named = {name.lower(): value for name, value in visit.request.headers.items()}
    kept = {name: value for name, value in named.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    return {"content-type": "binary/octet-stream", **kept}
