"""What an error of obstore means: its text becomes a fault of the image or of the store. PURE.

obstore raises few types; what a server said is in the text of the error: status, code and message. Headers are not, so
nobody learns from here how long a server wants us to wait. Addresses are never repeated, because those of Azure may
contain a signature.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from comfyledger.plugin_api import ImageFault, LaneFault

TEXT_CHARS_MAX: Final = 1_000
_STATUS: Final = re.compile(r"status code: ([0-9]{3})")
_CODE: Final = re.compile(r"<Code>([^<]{1,200})</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<]*)", re.DOTALL)
_BROKE: Final = re.compile(r"\bkind: ([A-Z][a-z]+)")
_ADDRESS: Final = re.compile(r"\bhttps?://\S+")
_BARE_REDIRECT: Final = "without LOCATION"
_CREDENTIALS: Final = re.compile("oauth2|[Cc]redential")
_CREDENTIAL_ADDRESS: Final = re.compile(
    r"https?://(169\.254\.|metadata\.google|oauth2\.|www\.googleapis\.com/oauth2|login\.microsoftonline|sts\.)"
)
_CREDENTIAL_SERVICE: Final = re.compile(r" https?://(169\.254\.|metadata\.google|oauth2\.|login\.microsoft|sts\.)")
_ODD: Final = re.compile(r"contained non UTF-8 characters|Invalid (last modified|content length)")
"""Metadata of an object that another program wrote."""
_INVALID_KEY: Final = re.compile(r"[Pp]ath \"([^\"]*)\"")

_THROTTLED: Final = frozenset(
    ("SlowDown", "ServiceUnavailable", "ServerBusy", "TooManyRequests", "RequestLimitExceeded", "Throttling")
)
_CLOCK: Final = frozenset(("RequestTimeTooSkewed", "RequestExpired"))
_FULL: Final = frozenset(
    (
        *("QuotaExceeded", "InsufficientStorage", "AccountLimitExceeded", "XMinioStorageFull"),
        *("XMinioAdminBucketQuotaExceeded", "InsufficientCapacity"),
    )
)
_CONFIGURATION: Final = frozenset(
    (
        *("NoSuchBucket", "ContainerNotFound", "InvalidBucketName", "InvalidResourceName", "ResourceNotFound"),
        *(
            "PermanentRedirect",
            "TemporaryRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
        ),
        *("ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"),
        *("InvalidStorageClass", "InvalidEncryptionAlgorithmError", "UserProjectMissing", "AccountProblem"),
        *("ContainerBeingDeleted", "ContainerDisabled", "AuthenticationFailed", "AuthorizationFailure"),
    )
)
_REFUSED: Final = frozenset(
    (
        *("EntityTooLarge", "RequestBodyTooLarge", "MaxMessageLengthExceeded", "KeyTooLongError", "KeyTooLong"),
        *("XMinioInvalidObjectName", "InvalidObjectName", "InvalidBlobName", "OutOfRangeInput", "InvalidURI"),
    )
)
_NOT_SUPPORTED: Final = frozenset(("NotImplemented", "ConditionHeadersNotSupported", "UnsupportedHeader"))
_ENDED: Final = "NoSuchUpload"
"""An upload in parts has ended, perhaps well: obstore gives it up after an answer that was lost, and is told so."""
ABSENT: Final = frozenset(("NoSuchKey", "BlobNotFound"))
"""Codes that say that the bucket is there and the object is not."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the text of an error says. `status` is 0 if no server answered; `broke`: then how it broke."""

    status: int = 0
    code: str = ""
    message: str = ""
    broke: str = ""

    @property
    def words(self) -> str:
        head = " ".join(part for part in (f"HTTP {self.status}" if self.status else "", self.code) if part)
        return bounded(": ".join(part for part in (head, self.message) if part))


def said_by(error: Exception) -> Said:
    """Only the first line of a message counts: Azure adds the id of the request and the time."""
    text = str(error)
    head, _, debug = text.partition("\n\nDebug source:")
    status, code, message = _STATUS.search(head), _CODE.search(head), _MESSAGE.search(head)
    if status is None:
        broke = _BROKE.search(debug)
        return Said(message=_without_addresses(head), broke=broke[1] if broke else "")
    lines = message[1].strip().splitlines() if message else []
    return Said(int(status[1]), code[1] if code else "", lines[0] if lines else "")


def fault_of(error: Exception, *, sending: bool) -> LaneFault | ImageFault:
    """`sending`: bytes of a file may have left, so that a broken connection does not say what the server has."""
    said, name = said_by(error), type(error).__name__
    if said.status in {400, 401, 403, 404, 405} and _CREDENTIAL_SERVICE.search(str(error)):
        return LaneFault(
            "configuration", f"No valid credentials were found, and the service for them says {said.words}"
        )
    if said.status:
        return _answered(said)
    if name == "InvalidPathError":
        return _invalid_key(str(error))
    if _BARE_REDIRECT in str(error):
        return LaneFault("configuration", f"{said.words} Is the region of the bucket right?")
    if _is_about_credentials(str(error)):
        return LaneFault("configuration", f"No valid credentials were found: {said.words}")
    reached = sending and said.broke != "Connect"
    return LaneFault("unknown" if reached else "not_reached", said.words or name)


def lane_fault_of(error: Exception) -> LaneFault:
    """The same for a question, which belongs to no image."""
    fault = fault_of(error, sending=False)
    return fault if isinstance(fault, LaneFault) else LaneFault("unknown", fault.text)


def is_clear_refusal(error: Exception) -> bool:
    """Whether a server has answered that it does not do this: no fault that may be gone a minute later."""
    said = said_by(error)
    is_passing = said.status in {408, 409, 429} or said.code in _THROTTLED | _CLOCK | _FULL
    return is_not_supported(error) or (400 <= said.status < 500 and not is_passing)


def may_be_of_the_object(error: Exception) -> bool:
    """Whether a question about one object may have failed for what this object is: the server refuses it (as one with
    permissions, a key or a class of its own), or obstore cannot read its metadata. Whether that is so is not known yet.
    """
    status = said_by(error).status
    if status in {404, 412}:  # gone or replaced
        return False
    is_refusal = is_clear_refusal(error) or status == 409  # an object in Azure's archive
    return is_refusal or bool(_ODD.search(str(error).partition("\n\nDebug source:")[0]))


def is_not_supported(error: Exception) -> bool:
    """Whether a server has answered that it knows no such request or header."""
    said = said_by(error)
    return said.code in _NOT_SUPPORTED or said.status == 501


def bounded(text: str) -> str:
    return text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - 1] + "…"


def _answered(said: Said) -> LaneFault | ImageFault:
    match said:
        case Said(code=code) if code in _THROTTLED:
            return LaneFault("throttled", said.words)
        case Said(code=code) if code in _CLOCK or _is_old(said):
            return LaneFault("clock", f"{said.words} Is the clock of this machine set?")
        case Said(code=code) if code in _FULL:
            return LaneFault("full", said.words)
        case Said(code=code) if code in _REFUSED:
            return ImageFault("refused", said.words)
        case Said(code=code) if code in _CONFIGURATION or code in _NOT_SUPPORTED or code.startswith("KMS."):
            return LaneFault("configuration", said.words)
        case Said(status=429 | 503):
            return LaneFault("throttled", said.words)
        case Said(status=507):
            return LaneFault("full", said.words)
        case Said(status=413 | 414):
            return ImageFault("refused", said.words)
        case Said(status=301 | 302 | 307 | 308 | 401 | 403 | 404 | 405 | 501) if said.code != _ENDED:
            return LaneFault("configuration", said.words)
        case _:
            return LaneFault("unknown", said.words)


def _is_old(said: Said) -> bool:
    """Azure has one code for a wrong key and for a request that is too old."""
    return said.code == "AuthenticationFailed" and "too old" in said.message.casefold()


def _is_about_credentials(text: str) -> bool:
    """The address of an object has names of users and characters, which may be any words."""
    said = text.partition("\n\nDebug source:")[0]
    return bool(_CREDENTIAL_ADDRESS.search(said) or _CREDENTIALS.search(_ADDRESS.sub("", said)))


def _invalid_key(text: str) -> LaneFault:
    key = _INVALID_KEY.search(text)
    named = f" {key[1]!r}" if key else ""
    return LaneFault(
        "configuration",
        bounded(
            f"The bucket has an object with a key that cannot be read{named}: it has an empty part, a part `.` or "
            "`..`, or a control character. Rename or delete it, or give this store a prefix of its own."
        ),
    )


def _without_addresses(text: str) -> str:
    return bounded(" ".join(_ADDRESS.sub("the server", text).split()))
