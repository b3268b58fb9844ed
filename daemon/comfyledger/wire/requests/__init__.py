"""What a client sends: every request with its fields. A field that is not declared here is refused."""

from __future__ import annotations

from typing import Final

from comfyledger.wire.requests.inputs import AddInput, ForgetInput, ListInputs
from comfyledger.wire.requests.parts import Message
from comfyledger.wire.requests.reading import (
    Explain,
    GetBatch,
    GetImage,
    GetRecipe,
    ListBatches,
    ListCharacters,
    ListImages,
    ReadLog,
    ServerInfo,
    Subscribe,
    Unsubscribe,
)
from comfyledger.wire.requests.steering import Cancel, Forget, Pause, RaiseSeries, Recover, Resume, Retry, SurveyStore
from comfyledger.wire.requests.submitting import CheckWorkflow, Hello, OpenSeries, SubmitBatch

REQUESTS: Final[dict[str, type[Message]]] = {
    "hello": Hello,
    "submit_batch": SubmitBatch,
    "check_workflow": CheckWorkflow,
    "open_series": OpenSeries,
    "get_batch": GetBatch,
    "list_batches": ListBatches,
    "get_image": GetImage,
    "get_recipe": GetRecipe,
    "list_images": ListImages,
    "list_characters": ListCharacters,
    "add_input": AddInput,
    "list_inputs": ListInputs,
    "forget_input": ForgetInput,
    "cancel": Cancel,
    "retry": Retry,
    "recover": Recover,
    "forget": Forget,
    "pause": Pause,
    "resume": Resume,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "read_log": ReadLog,
    "explain": Explain,
    "server_info": ServerInfo,
    "survey_store": SurveyStore,
    "raise_series": RaiseSeries,
}
"""Every type that a client may send, with what its `data` holds."""
TYPE_OF: Final[dict[type[Message], str]] = {message: name for name, message in REQUESTS.items()}
