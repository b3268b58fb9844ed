"""What `HELP` says of each metric: the same as in docs/metrics.md."""

from __future__ import annotations

from typing import Final

HELP: Final = {
    "build_info": "The running version; always 1.",
    "log_position": "Position of the last event of the log.",
    "accepting": "1 if new batches are accepted, 0 while they are refused as storage_full or the daemon stops.",
    "door_connections": "Open websockets of clients.",
    "messages_waiting": (
        "Messages that wait for a decision: report from workers, command from clients, and first_use for batches of a "
        "new series, while the stores are asked for its numbers."
    ),
    "disk_free_bytes": (
        "Free bytes on the disks of ledger, spool and inputs, and of stores that keep their files on a disk of this "
        "machine (store/NAME); no sample for a disk that cannot be read."
    ),
    "disk_size_bytes": "The size of the same disks.",
    "disk_free_min_bytes": (
        "Below how many free bytes nothing new is taken (free_min_bytes); 0 for stores, which pause when they are full."
    ),
    "inputs": "Input files that the daemon keeps.",
    "inputs_bytes": "Bytes of the input files that the daemon keeps.",
    "input_removals": (
        "Input files that nothing needs and that are still to be removed, by lane: inputs (the daemon's own folder) or "
        "backend/NAME."
    ),
    "thumbnails": "Thumbnails that the daemon made, cached (had in its cache), or failed to make.",
    "thumbnails_bytes": "Bytes that the cache of thumbnails takes.",
    "log_lines_dropped": (
        "Log lines that were dropped because they could not be written to standard error: its reader is gone or "
        "does not read, or its disk is full."
    ),
    "notifications_dropped": "Messages to systemd (sd_notify) that could not be sent.",
    "webhook_deliveries": (
        "Tries of each webhook, by outcome: delivered, http_3xx, http_4xx, http_5xx, timeout, not_reached, tls, "
        "address_not_allowed or internal."
    ),
    "webhook_lag_events": "Events of the log that each webhook has still to look at or to deliver, of all kinds.",
    "webhook_lag_seconds": "Seconds since the oldest event that waits for each webhook; 0 if none does.",
    "webhook_put_aside": "Events that the endpoint did not take although it took others, and those behind them.",
    "webhook_paused": (
        "1 while the webhook delivers nothing, by cause: paused (by a person), gone, dead or not_allowed."
    ),
    "store_usable": "1 if the store can be used, 0 if its plugin is broken or it is not prepared yet.",
    "plugin_errors": (
        "Calls to the store's plugin that failed: the plugin raised an undocumented error, gave an invalid answer, or "
        "gave no answer in time."
    ),
    "oldest_owed_image_timestamp_seconds": (
        "When the oldest unfinished batch was accepted, in seconds since 1970. Held batches do not count; no "
        "sample if there is none."
    ),
    "batches": "Batches that are not settled: open or held.",
    "owed_images": "Images of open batches: pending (to be rendered) or kept (to be stored).",
    "prompts": (
        "Prompts that are not done: queued wait here for their turn, waiting for images that they are made from; "
        "submitting, accepted and cancelling are or may be at ComfyUI; the files of finished are being fetched; "
        "of strays, which are done, an earlier attempt that was left behind has not ended."
    ),
    "calls_running": "Calls under way, by kind: submit, follow, fetch, cancel, upload, delete, sources, input.",
    "queued_prompts": (
        "Prompts that wait here for a place at a ComfyUI, by what they need of it: any, its tags (48gb+flux), "
        "backend:NAME if only this one may render them, or other for all above 31 different needs."
    ),
    "queued_seconds": (
        "Seconds that one ComfyUI would take for these prompts, from the measured times of prompts with the same "
        "models or needs; no sample while no prompt was measured."
    ),
    "backends_wanted": (
        "How many ComfyUIs would finish these prompts, and those that they run already, within wanted_wait_s; 0 if "
        "there are none."
    ),
    "lane_paused": (
        "1 while the lane is paused, by cause: person or trouble. Lanes: everything, spool, inputs, backend/NAME, "
        "store/NAME."
    ),
    "users_paused": "Users whose work a person paused.",
    "box_is_member": "1 while this box takes part in its fleet; no sample without a fleet.",
    "box_present": "Boxes that take part in the fleet, this one among them.",
    "box_behind": "Events of the shared log that this box lacked when it looked last, at most five seconds ago.",
    "comfyui_connected": "1 while ComfyUI's websocket is connected.",
    "comfyui_places": (
        "Places for prompts at ComfyUI (queue_depth): running and waiting have one of ours, free have none."
    ),
    "comfyui_prompts": "Runs that ended at each ComfyUI, by outcome, as in comfyledger_prompt_attempts_total.",
    "comfyui_busy_seconds": (
        "Seconds in which ComfyUI had a prompt of ours, running or waiting, also while it could not be reached."
    ),
    "comfyui_images": "Images whose files came from each ComfyUI.",
    "comfyui_model_changes": "How often ComfyUI was sent a prompt that loads other models than the one before.",
    "comfyui_strays": "Attempts that were left behind at ComfyUI when their prompts moved, and that may still run.",
    "comfyui_unfit": "Different graphs of open batches that ComfyUI refuses, as far as it was asked.",
    "comfyui_reconnects": "Connections to ComfyUI after the first.",
    "comfyui_input_uploads": (
        "Files that were uploaded into ComfyUI's input folder: input files, images that others are made from, and what "
        "overwrites forgotten ones."
    ),
    "comfyui_input_bytes": "Bytes of the files that were uploaded into ComfyUI's input folder.",
    "comfyui_deaf_sockets": "Websockets that were replaced because they were open and silent.",
    "comfyui_sweeps": "How often prompts were looked up because the websocket said nothing about them.",
    "events": "Events appended to the log, by kind.",
    "numbers_given": "Numbers given to images, including new numbers of renamed ones.",
    "images": (
        "Images that entered a state: pending (accepted, lost or retried), kept, stored (by the last of its "
        "stores), parked, failed, cancelled, forgotten."
    ),
    "prompt_attempts": (
        "Runs at ComfyUI that ended: finished, failed, refused, lost (ComfyUI was restarted), removed, moved (left "
        "behind there)."
    ),
    "prompts_moved": (
        "Attempts that were left behind at their ComfyUI, so that another one is made, by reason: away, person, "
        "removed, replaced, overtaken."
    ),
    "uploads": (
        "Answers of stores about an image: stored, found (the file was in the store before) or parked. A fault of "
        "the store itself pauses its lane instead."
    ),
    "lane_pauses": "How often a lane was paused, by cause: person or trouble.",
    "kept_bytes": "Bytes of images that were written to the spool.",
    "kept_media_bytes": "Bytes of files that were written to the spool, by medium: image, video, audio, model or file.",
    "uploaded_bytes": "Bytes of images that the store accepted; files that it had before do not count.",
    "commit_duration_seconds": "Seconds from the start of a group of messages until it is on stable storage.",
    "commit_messages": "Messages that one commit decided.",
    "event_loop_lag_seconds": "Seconds by which the event loop woke a task too late, measured twice a second.",
}
"""By name without prefix and `_total`."""
