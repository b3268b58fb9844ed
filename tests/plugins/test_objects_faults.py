"""What errors of obstore mean, from their texts: the image's fault, or which fault of the store."""

from __future__ import annotations

import pytest

from comfyledger.plugin_api import ImageFault, LaneFault
from comfyledger_objects.faults import ABSENT, fault_of, is_clear_refusal, is_not_supported, lane_fault_of, said_by


class GenericError(Exception):
    """As obstore's, which is known only where obstore is installed."""


class InvalidPathError(Exception):
    """The same."""


def answered(status: int, code: str, message: str = "Some words.") -> GenericError:
    body = f"<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    where = "https://anna.example/images/a.png?sig=hidden in 7.6ms"
    return GenericError(
        f"Generic S3 error: Error performing PUT {where} - Server returned non-2xx status code: {status} Odd: {body}\n"
        '\nDebug source:\nGeneric { store: "S3", source: RetryError( status: 999, <Code>Other</Code> ) }'
    )


def broken(kind: str, where: str = "http://127.0.0.1:1/images/a.png?sig=hidden") -> GenericError:
    text = f"Generic S3 error: Error performing PUT {where} in 140µs - HTTP error: error sending request"
    return GenericError(f"{text}\n\nDebug source:\nRetryError {{ inner: Http(HttpError {{ kind: {kind}, }}) }}")


@pytest.mark.parametrize(
    ("status", "code", "fault"),
    [
        (503, "SlowDown", "throttled"),
        (503, "ServerBusy", "throttled"),
        (503, "", "throttled"),
        (429, "", "throttled"),
        (403, "RequestTimeTooSkewed", "clock"),
        (403, "AccessDenied", "configuration"),
        (403, "", "configuration"),
        (401, "", "configuration"),
        (400, "ExpiredToken", "configuration"),
        (400, "AuthorizationHeaderMalformed", "configuration"),
        (400, "KMS.DisabledException", "configuration"),
        (404, "NoSuchBucket", "configuration"),
        (404, "ContainerNotFound", "configuration"),
        (301, "PermanentRedirect", "configuration"),
        (501, "NotImplemented", "configuration"),
        (507, "", "full"),
        (403, "QuotaExceeded", "full"),
        (507, "XMinioStorageFull", "full"),
        (500, "InternalError", "unknown"),
        (500, "", "unknown"),
        (400, "RequestTimeout", "unknown"),
        (400, "BadDigest", "unknown"),
        (404, "NoSuchUpload", "unknown"),
        (418, "", "unknown"),
    ],
)
def test_an_answer_says_which_fault_of_the_store_it_is(status: int, code: str, fault: str) -> None:
    found = fault_of(answered(status, code), sending=True)
    assert isinstance(found, LaneFault)
    assert found.code == fault
    assert str(status) in found.text
    assert "hidden" not in found.text
    assert "999" not in found.text


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "EntityTooLarge"), (400, "KeyTooLongError"), (413, ""), (413, "RequestBodyTooLarge"), (414, "")],
)
def test_what_is_wrong_with_one_file_is_the_images_fault(status: int, code: str) -> None:
    found = fault_of(answered(status, code), sending=True)
    assert isinstance(found, ImageFault)
    assert found.code == "refused"
    assert lane_fault_of(answered(status, code)).code == "unknown"


def test_azure_has_one_code_for_a_wrong_key_and_a_wrong_clock() -> None:
    assert fault_of(answered(403, "AuthenticationFailed"), sending=True).code == "configuration"
    late = answered(403, "AuthenticationFailed", "Request date header too old: 'Thu'\nRequestId:1")
    assert fault_of(late, sending=True).code == "clock"
    assert "RequestId" not in said_by(late).words


@pytest.mark.parametrize(
    ("kind", "sending", "code"),
    [
        ("Connect", True, "not_reached"),
        ("Connect", False, "not_reached"),
        ("Timeout", True, "unknown"),
        ("Timeout", False, "not_reached"),
        ("Interrupted", True, "unknown"),
    ],
)
def test_a_broken_connection_says_nothing_of_what_was_sent(kind: str, sending: bool, code: str) -> None:
    found = fault_of(broken(kind), sending=sending)
    assert found.code == code
    assert "hidden" not in found.text
    assert found.text


def test_missing_credentials_are_the_configurations_fault() -> None:
    for where in ("http://169.254.169.254/latest/api/token", "http://metadata.google.internal/x"):
        assert fault_of(broken("Connect", where), sending=True).code == "configuration"


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found"])
def test_a_machine_that_is_given_no_credentials_says_so(status: str) -> None:
    """What a machine in Amazon's cloud without a role answers."""
    text = "Error performing PUT http://169.254.169.254/latest/api/token in 4ms - Server returned non-2xx status code: "
    found = fault_of(GenericError(f"Generic S3 error: {text}{status}: "), sending=True)
    assert found.code == "configuration"
    assert "credentials" in found.text


def test_a_redirect_without_an_address_is_a_wrong_region() -> None:
    text = "Received redirect without LOCATION, this normally indicates an incorrectly configured region"
    found = fault_of(GenericError(f"Generic S3 error: {text}"), sending=False)
    assert found.code == "configuration"
    assert "region" in found.text


def test_a_key_that_cannot_be_listed_is_named() -> None:
    found = fault_of(InvalidPathError('Encountered object: Path "d/a//b" contained empty path segment'), sending=False)
    assert found.code == "configuration"
    assert "'d/a//b'" in found.text


def test_only_the_servers_word_makes_an_object_a_missing_one() -> None:
    assert said_by(answered(404, "NoSuchKey")).code in ABSENT
    assert said_by(answered(404, "BlobNotFound")).code in ABSENT
    for code in ("NoSuchBucket", "ContainerNotFound", ""):
        assert said_by(answered(404, code)).code not in ABSENT


@pytest.mark.parametrize(
    ("error", "is_clear", "is_unknown"),
    [
        (answered(501, "NotImplemented"), True, True),
        (answered(400, "ConditionHeadersNotSupported"), True, True),
        (answered(403, "AuthorizationFailure"), True, False),
        (answered(409, "OperationAborted"), False, False),
        (answered(503, "SlowDown"), False, False),
        (answered(429, ""), False, False),
        (answered(403, "RequestTimeTooSkewed"), False, False),
        (answered(500, "InternalError"), False, False),
        (broken("Timeout"), False, False),
    ],
)
def test_a_fault_that_may_pass_is_no_refusal(error: Exception, is_clear: bool, is_unknown: bool) -> None:
    assert is_clear_refusal(error) is is_clear
    assert is_not_supported(error) is is_unknown


def test_a_text_is_bounded() -> None:
    assert len(fault_of(answered(500, "InternalError", "x" * 9_000), sending=True).text) <= 1_000
