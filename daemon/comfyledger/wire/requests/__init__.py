"""What a client sends: every request with its fields. A field that is not declared here is refused."""

from __future__ import annotations

from typing import Final

from comfyledger.wire.requests.backends import AddBackend, RemoveBackend
from comfyledger.wire.requests.boxes import GiveUpBox
from comfyledger.wire.requests.inputs import AddInput, ForgetInput, ListInputs
from comfyledger.wire.requests.parts import Message
from comfyledger.wire.requests.reading import (
    CountImages,
    Explain,
    GetActivity,
    GetBatch,
    GetImage,
    GetRecipe,
    ListBatches,
    ListCharacters,
    ListChecks,
    ListImages,
    ReadLog,
    ServerInfo,
    Subscribe,
    Unsubscribe,
)
from comfyledger.wire.requests.steering import (
    Cancel,
    Forget,
    Move,
    Pause,
    RaiseSeries,
    Recover,
    Resume,
    Retry,
    Review,
    SetPriority,
    SurveyStore,
)
from comfyledger.wire.requests.submitting import CheckWorkflow, DescribeWorkflow, Hello, OpenSeries, SubmitBatch
from comfyledger.wire.requests.webhooks import AddWebhook, ListWebhooks, RemoveWebhook, ReplayWebhook, TestWebhook

REQUESTS: Final[dict[str, type[Message]]] = {
    "hello": Hello,
    "submit_batch": SubmitBatch,
    "check_workflow": CheckWorkflow,
    "describe_workflow": DescribeWorkflow,
    "open_series": OpenSeries,
    "get_batch": GetBatch,
    "list_batches": ListBatches,
    "get_image": GetImage,
    "get_recipe": GetRecipe,
    "list_images": ListImages,
    "count_images": CountImages,
    "list_characters": ListCharacters,
    "add_input": AddInput,
    "list_inputs": ListInputs,
    "forget_input": ForgetInput,
    "add_backend": AddBackend,
    "remove_backend": RemoveBackend,
    "give_up_box": GiveUpBox,
    "cancel": Cancel,
    "retry": Retry,
    "set_priority": SetPriority,
    "recover": Recover,
    "forget": Forget,
    "review": Review,
    "pause": Pause,
    "move": Move,
    "resume": Resume,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "read_log": ReadLog,
    "explain": Explain,
    "server_info": ServerInfo,
    "survey_store": SurveyStore,
    "raise_series": RaiseSeries,
    "add_webhook": AddWebhook,
    "remove_webhook": RemoveWebhook,
    "list_webhooks": ListWebhooks,
    "test_webhook": TestWebhook,
    "replay_webhook": ReplayWebhook,
    "list_checks": ListChecks,
    "activity": GetActivity,
}
"""Every type that a client may send, with what its `data` holds."""
TYPE_OF: Final[dict[type[Message], str]] = {message: name for name, message in REQUESTS.items()}
