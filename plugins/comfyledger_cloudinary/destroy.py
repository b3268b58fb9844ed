"""Deleting an asset: what is asked, whose asset it is, and what the answer means. No clock, no network.

Cloudinary deletes whatever has the name, so the asset is looked at first: only one that has our bytes, or was stored
for the image that is meant, may go. Copies in Cloudinary's caches are called back (`invalidate`), which takes minutes.
"""

from __future__ import annotations

from comfyledger.plugin_api import Deleted, Deletion, Foreign, Held, LaneFault
from comfyledger_cloudinary.account import Options
from comfyledger_cloudinary.answers import Answer, admin_fault, parsed, words


def destroy_fields(options: Options, public_id: str, timestamp_s: int) -> dict[str, str]:
    """The signed fields of one call of `image/destroy`."""
    from cloudinary.utils import api_sign_request

    account = options.account
    fields = {
        "public_id": public_id,
        "type": options.delivery_type,
        "invalidate": "true",
        "timestamp": str(timestamp_s),
    }
    signature = str(api_sign_request(dict(fields), account.secret.reveal(), options.signature_algorithm, 2))
    return {**fields, "api_key": account.api_key, "signature": signature}


def is_ours(found: Held, ours: Held) -> bool:
    """By the bytes as they are now, else by what was said when they were stored, should the account change them."""
    pairs = ((found.md5, ours.md5), (found.sha256, ours.sha256), (found.image_id, ours.image_id))
    return any(one and one == other for one, other in pairs)


def foreign(found: Held, ours: Held) -> Foreign:
    return Foreign(f"{found.public_id} holds something else (etag {found.md5}, ours {ours.md5}).")


def judge_destroyed(answer: Answer, now_s: float) -> Deletion:
    """What is not there counts as deleted. `now_s`: as in `comfyledger_cloudinary.answers`."""
    result = parsed(answer.body).get("result") if 200 <= answer.status < 300 else None
    if result in {"ok", "not found"}:
        return Deleted(found=result == "ok")
    if result is not None:
        return LaneFault("unknown", f"The answer does not say that the image is deleted: {words(answer)}")
    return admin_fault(answer, now_s)
