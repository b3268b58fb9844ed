"""What the daemon sends: results of requests, what comes unasked, and the parts that they are made of."""

from __future__ import annotations

from typing import Final

from comfyledger.wire.answers.activity import Activity
from comfyledger.wire.answers.batches import (
    BatchAccepted,
    Batches,
    BatchInfo,
    ImageCounts,
    ImageInfo,
    Images,
    SeriesInfo,
)
from comfyledger.wire.answers.changes import (
    AddedBackend,
    ChangedCount,
    Forgotten,
    GivenUpBox,
    Moved,
    Recovered,
    RemovedBackend,
    Reviewed,
    SeriesRaised,
    Survey,
)
from comfyledger.wire.answers.characters import Characters
from comfyledger.wire.answers.checks import Checks
from comfyledger.wire.answers.events import (
    Explanation,
    LoggedEvent,
    LogPage,
    Preview,
    Progress,
    Subscribed,
    SubscriptionEnded,
    Unsubscribed,
)
from comfyledger.wire.answers.inputs import InputInfo, Inputs
from comfyledger.wire.answers.parts import Answer
from comfyledger.wire.answers.recipes import Recipe
from comfyledger.wire.answers.server import ErrorInfo, Info, Waiting, Welcome
from comfyledger.wire.answers.webhooks import AddedWebhook, RemovedWebhook, WebhookReplayed, Webhooks, WebhookTested
from comfyledger.wire.answers.workflows import WorkflowInputs, WorkflowReport

ANSWERS: Final[dict[str, type[Answer]]] = {
    "error": ErrorInfo,
    "waiting": Waiting,
    "event": LoggedEvent,
    "progress": Progress,
    "preview": Preview,
    "subscription_ended": SubscriptionEnded,
}
"""Every type that the daemon sends but `result`, whose `data` depends on the request: see RESULTS."""
RESULTS: Final[dict[str, type[Answer]]] = {
    "hello": Welcome,
    "submit_batch": BatchAccepted,
    "check_workflow": WorkflowReport,
    "describe_workflow": WorkflowInputs,
    "open_series": SeriesInfo,
    "get_batch": BatchInfo,
    "list_batches": Batches,
    "get_image": ImageInfo,
    "get_recipe": Recipe,
    "list_images": Images,
    "count_images": ImageCounts,
    "list_characters": Characters,
    "add_input": InputInfo,
    "list_inputs": Inputs,
    "forget_input": InputInfo,
    "add_backend": AddedBackend,
    "remove_backend": RemovedBackend,
    "give_up_box": GivenUpBox,
    "cancel": ChangedCount,
    "retry": ChangedCount,
    "set_priority": ChangedCount,
    "recover": Recovered,
    "forget": Forgotten,
    "review": Reviewed,
    "pause": ChangedCount,
    "move": Moved,
    "resume": ChangedCount,
    "subscribe": Subscribed,
    "unsubscribe": Unsubscribed,
    "read_log": LogPage,
    "explain": Explanation,
    "server_info": Info,
    "survey_store": Survey,
    "raise_series": SeriesRaised,
    "add_webhook": AddedWebhook,
    "remove_webhook": RemovedWebhook,
    "list_webhooks": Webhooks,
    "test_webhook": WebhookTested,
    "replay_webhook": WebhookReplayed,
    "list_checks": Checks,
    "activity": Activity,
}
