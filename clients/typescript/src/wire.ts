// Made by generate.py from the JSON Schema of the wire, sha256 5e8012d17d867df5a2265d0736c97f4efd98b14f3a8d1238b7a48e2645c2487d

/**
 * What a client sends.
 */
export type ClientFrame =
  | HelloRequest
  | SubmitBatchRequest
  | CheckWorkflowRequest
  | DescribeWorkflowRequest
  | OpenSeriesRequest
  | GetBatchRequest
  | ListBatchesRequest
  | GetImageRequest
  | GetRecipeRequest
  | ListImagesRequest
  | CountImagesRequest
  | ListCharactersRequest
  | AddInputRequest
  | ListInputsRequest
  | ForgetInputRequest
  | AddBackendRequest
  | RemoveBackendRequest
  | GiveUpBoxRequest
  | CancelRequest
  | RetryRequest
  | SetPriorityRequest
  | RecoverRequest
  | ForgetRequest
  | ReviewRequest
  | PauseRequest
  | MoveRequest
  | ResumeRequest
  | SubscribeRequest
  | UnsubscribeRequest
  | ReadLogRequest
  | ExplainRequest
  | ServerInfoRequest
  | SurveyStoreRequest
  | RaiseSeriesRequest
  | AddWebhookRequest
  | RemoveWebhookRequest
  | ListWebhooksRequest
  | TestWebhookRequest
  | ReplayWebhookRequest
  | ListChecksRequest
  | ActivityRequest;
/**
 * A file for an input of the workflow, in place of a value: an input file, or an earlier image. It has exactly one of the two fields.
 */
export type FileAsked =
  | {
      /**
       * An input file, by `sha256:` and its SHA-256; or the address of a file on a server that `[inputs] url_hosts` names, which the daemon then adds as an input.
       */
      input: string;
    }
  | {
      /**
       * An earlier image: its public id, its file name, `<batch_id>/<index>`, or an object. The image need not be made yet: what is made from it waits for it.
       */
      image: string | ImageWanted;
    };
/**
 * An earlier image by its number (`username`, `character`, `number`), or by the request that asked for it (`request_id`, `index`). The image need not be made yet.
 */
export type ImageWanted =
  | {
      /**
       * Its user, as in `submit_batch`.
       */
      username: string;
      /**
       * Its character, as in `submit_batch`.
       */
      character: string;
      /**
       * Its number in the series.
       */
      number: number;
      /**
       * Which collection it is in, as in `submit_batch`. If absent, both are searched, and a number that both have is refused.
       */
      premade?: boolean;
      /**
       * The medium of its series. Default: `image`.
       */
      medium?: "audio" | "file" | "image" | "model" | "video";
    }
  | {
      /**
       * The `request_id` of its batch, of the same client.
       */
      request_id: string;
      /**
       * Its index in that batch, from 1.
       */
      index: number;
    };
/**
 * What the daemon sends.
 */
export type ServerFrame =
  | ErrorFrame
  | WaitingFrame
  | EventFrame
  | ProgressFrame
  | PreviewFrame
  | SubscriptionEndedFrame
  | HelloResult
  | SubmitBatchResult
  | CheckWorkflowResult
  | DescribeWorkflowResult
  | OpenSeriesResult
  | GetBatchResult
  | ListBatchesResult
  | GetImageResult
  | GetRecipeResult
  | ListImagesResult
  | CountImagesResult
  | ListCharactersResult
  | AddInputResult
  | ListInputsResult
  | ForgetInputResult
  | AddBackendResult
  | RemoveBackendResult
  | GiveUpBoxResult
  | CancelResult
  | RetryResult
  | SetPriorityResult
  | RecoverResult
  | ForgetResult
  | ReviewResult
  | PauseResult
  | MoveResult
  | ResumeResult
  | SubscribeResult
  | UnsubscribeResult
  | ReadLogResult
  | ExplainResult
  | ServerInfoResult
  | SurveyStoreResult
  | RaiseSeriesResult
  | AddWebhookResult
  | RemoveWebhookResult
  | ListWebhooksResult
  | TestWebhookResult
  | ReplayWebhookResult
  | ListChecksResult
  | ActivityResult;
/**
 * Why a request was refused. Stable: a code is never renamed or reused.
 *
 * - `not_json`: The frame is not JSON.
 * - `not_utf8`: The frame is not UTF-8.
 * - `binary_frame`: The frame is binary; send text.
 * - `frame_too_large`: The frame is above the size limit.
 * - `bad_envelope`: The frame is not an envelope {"type", "id", "data"}.
 * - `unknown_type`: There is no message of this type.
 * - `unknown_field`: The message has a field that its type does not have.
 * - `invalid_field`: A field is missing, or its value has the wrong type or is out of range.
 * - `unknown_path`: There is nothing at this path.
 * - `method_not_allowed`: This path does not take this method.
 * - `content_type`: The body is not application/json, or it is compressed.
 * - `protocol_version`: The daemon does not support the client's protocol version.
 * - `unauthorized`: The token is missing or wrong.
 * - `forbidden`: The token does not have the right to do this.
 * - `session_expired`: The session has ended.
 * - `code_invalid`: The one-time code is wrong, was used, or has ended.
 * - `page_unreachable`: The daemon listens at no port, so no browser can open its page.
 * - `signature_invalid`: The signature is not valid for this file, or the key of signed addresses was rotated.
 * - `signature_expired`: The signed address of the file has expired.
 * - `forbidden_origin`: The request comes from a web page that is not allowed.
 * - `forbidden_host`: The request names a host for which this daemon does not answer.
 * - `busy`: The daemon is overloaded, or another program locks its ledger; the request was not accepted.
 * - `rate_limited`: The client sends too many frames or requests per second.
 * - `too_many_open`: The client has too many images that still have to be rendered or stored.
 * - `request_id_conflict`: The request_id was used before with another body.
 * - `quantity_and_images`: Give either quantity or images.
 * - `quantity_out_of_range`: The batch asks for no image, or for more images than the limit or the series allows.
 * - `name_unusable`: A name has no usable character, or is too long.
 * - `name_taken`: The name is already in use.
 * - `unknown_workflow`: No workflow of this name is configured.
 * - `unknown_character`: No character of this name is configured.
 * - `workflow_ui_format`: The workflow is in ComfyUI's UI format, not in its API format.
 * - `workflow_invalid`: The workflow cannot be read or is malformed.
 * - `workflow_no_output`: No node of the workflow saves or shows a file, or the node that was named does not exist.
 * - `workflow_output_ambiguous`: The workflow has more outputs than a batch can have.
 * - `workflow_output_unsupported`: The daemon cannot get the files of the workflow's output, or must not keep them.
 * - `workflow_unsafe_path`: The workflow names a file outside ComfyUI's folders, or one of comfyledger's own.
 * - `workflow_node_denied`: The workflow uses a node class that graphs in requests may not use.
 * - `secret_input`: This input holds a secret; only the configuration may set it.
 * - `workflow_batch_size`: The workflow cannot make the requested number of images in one run.
 * - `workflow_failed_validation`: ComfyUI would refuse the workflow.
 * - `backend_unknown`: ComfyUI has not said yet which nodes it has, so the UI format cannot be read.
 * - `unknown_backend`: No ComfyUI of this name was added while the daemon runs.
 * - `backend_exists`: The configuration has this name, or another ComfyUI has this address.
 * - `backend_not_allowed`: The configuration does not allow ComfyUIs at this address.
 * - `backend_busy`: The ComfyUI has prompts, and the request does not say that they are to move.
 * - `backends_limit`: Too many ComfyUIs were added.
 * - `unknown_webhook`: There is no webhook of this name.
 * - `webhook_exists`: The configuration has a webhook of this name.
 * - `webhook_not_allowed`: The configuration does not allow webhooks at this address.
 * - `webhooks_limit`: Too many webhooks were added.
 * - `no_backend`: No ComfyUI of the configuration may render this.
 * - `graph_too_large`: The workflow is above the size limit.
 * - `unknown_input`: The workflow has no input of this name.
 * - `input_missing`: There is no such input file.
 * - `input_failed`: An image or input file that the image is made from cannot be had.
 * - `input_broken`: The input file is not whole, or of no kind that can be told.
 * - `input_too_large`: The input file is above the size limit.
 * - `inputs_full`: The folder of input files has no room for it.
 * - `input_not_taken`: This input of the workflow takes no file, or none of this kind.
 * - `chain_too_deep`: The image would be made from too many images in a row.
 * - `url_not_allowed`: Input files are not fetched from this address.
 * - `url_failed`: The input file could not be fetched from its address.
 * - `seed_out_of_range`: A seed is below zero or above 2^53-1, or a node of the workflow does not take it.
 * - `comfyui_refused`: ComfyUI refused the graph and gave no code.
 * - `series_unanswered`: A store could not say which numbers it holds, so no number was given.
 * - `storage_full`: A disk is nearly full, or parked images take more than their limit; new work is refused.
 * - `unknown_store`: No store of this name is configured.
 * - `store_unavailable`: The store cannot be used now.
 * - `unknown_batch`: There is no batch of this id.
 * - `unknown_image`: There is no image of this name.
 * - `no_file`: The image has no file: it is not made yet, failed, was cancelled or was forgotten.
 * - `file_broken`: The bytes that arrived are not those of the image.
 * - `file_too_large`: The file is too large to be read into memory.
 * - `thumbnail_unsupported`: There are no thumbnails of files of this kind.
 * - `thumbnail_failed`: No thumbnail could be made of this file.
 * - `recipe_forgotten`: The recipe of the image was forgotten, so it cannot be used again.
 * - `unknown_scope`: There is nothing of this name to pause or resume.
 * - `take_missing`: A run gave more files than it has images; choose with `take` which files to use.
 * - `nothing_to_do`: There is nothing to change.
 * - `unknown_position`: The log has no such position.
 * - `epoch_changed`: The ledger was restored; positions of the earlier epoch are no longer valid.
 * - `unknown_subscription`: There is no subscription of this id on this connection.
 * - `subscriptions_limit`: The connection has too many subscriptions.
 * - `unknown_box`: No box of this name has joined the fleet.
 * - `box_away`: The box of the fleet that has the file cannot be reached now.
 * - `behind`: This box does not have a position of the log yet that another box has.
 * - `other_box`: Another box of the fleet has to be asked.
 * - `box_present`: The box takes part in the fleet, so it cannot be given up.
 * - `boxes_limit`: Too many boxes take part in the fleet.
 * - `not_running`: No daemon answers, or it is stopping.
 * - `timeout`: An answer or a request did not come in time.
 * - `config_invalid`: The configuration cannot be used.
 * - `plugin_broken`: A plugin cannot be used.
 * - `ledger_locked`: Another program holds a lock of the ledger, so nothing can be written.
 * - `fenced`: The box was taken for dead by its fleet, and joins it again; nothing was changed.
 * - `log_unreachable`: The log that this box shares with others cannot be reached, so nothing can be written.
 * - `ledger_unusable`: The ledger cannot be used.
 * - `internal`: The daemon has an internal fault; its log has the details.
 */
export type ErrorCode =
  | "not_json"
  | "not_utf8"
  | "binary_frame"
  | "frame_too_large"
  | "bad_envelope"
  | "unknown_type"
  | "unknown_field"
  | "invalid_field"
  | "unknown_path"
  | "method_not_allowed"
  | "content_type"
  | "protocol_version"
  | "unauthorized"
  | "forbidden"
  | "session_expired"
  | "code_invalid"
  | "page_unreachable"
  | "signature_invalid"
  | "signature_expired"
  | "forbidden_origin"
  | "forbidden_host"
  | "busy"
  | "rate_limited"
  | "too_many_open"
  | "request_id_conflict"
  | "quantity_and_images"
  | "quantity_out_of_range"
  | "name_unusable"
  | "name_taken"
  | "unknown_workflow"
  | "unknown_character"
  | "workflow_ui_format"
  | "workflow_invalid"
  | "workflow_no_output"
  | "workflow_output_ambiguous"
  | "workflow_output_unsupported"
  | "workflow_unsafe_path"
  | "workflow_node_denied"
  | "secret_input"
  | "workflow_batch_size"
  | "workflow_failed_validation"
  | "backend_unknown"
  | "unknown_backend"
  | "backend_exists"
  | "backend_not_allowed"
  | "backend_busy"
  | "backends_limit"
  | "unknown_webhook"
  | "webhook_exists"
  | "webhook_not_allowed"
  | "webhooks_limit"
  | "no_backend"
  | "graph_too_large"
  | "unknown_input"
  | "input_missing"
  | "input_failed"
  | "input_broken"
  | "input_too_large"
  | "inputs_full"
  | "input_not_taken"
  | "chain_too_deep"
  | "url_not_allowed"
  | "url_failed"
  | "seed_out_of_range"
  | "comfyui_refused"
  | "series_unanswered"
  | "storage_full"
  | "unknown_store"
  | "store_unavailable"
  | "unknown_batch"
  | "unknown_image"
  | "no_file"
  | "file_broken"
  | "file_too_large"
  | "thumbnail_unsupported"
  | "thumbnail_failed"
  | "recipe_forgotten"
  | "unknown_scope"
  | "take_missing"
  | "nothing_to_do"
  | "unknown_position"
  | "epoch_changed"
  | "unknown_subscription"
  | "subscriptions_limit"
  | "unknown_box"
  | "box_away"
  | "behind"
  | "other_box"
  | "box_present"
  | "boxes_limit"
  | "not_running"
  | "timeout"
  | "config_invalid"
  | "plugin_broken"
  | "ledger_locked"
  | "fenced"
  | "log_unreachable"
  | "ledger_unusable"
  | "internal";
/**
 * An event of the log, for one subscription.
 */
export type LoggedEvent = LoggedEventPlace & EventOfKind;
/**
 * The kind of an event, and its fields exactly as in the log. Later versions may add kinds.
 */
export type EventOfKind =
  | {
      kind: "series_opened";
      data: SeriesOpenedEvent;
    }
  | {
      kind: "series_raised";
      data: SeriesRaisedEvent;
    }
  | {
      kind: "batch_requested";
      data: BatchRequestedEvent;
    }
  | {
      kind: "batch_held";
      data: BatchHeldEvent;
    }
  | {
      kind: "batch_resumed";
      data: BatchResumedEvent;
    }
  | {
      kind: "batch_cancelled";
      data: BatchCancelledEvent;
    }
  | {
      kind: "batch_settled";
      data: BatchSettledEvent;
    }
  | {
      kind: "batch_reopened";
      data: BatchReopenedEvent;
    }
  | {
      kind: "prompt_submitting";
      data: PromptSubmittingEvent;
    }
  | {
      kind: "prompt_accepted";
      data: PromptAcceptedEvent;
    }
  | {
      kind: "prompt_refused";
      data: PromptRefusedEvent;
    }
  | {
      kind: "prompt_finished";
      data: PromptFinishedEvent;
    }
  | {
      kind: "files_waiting";
      data: FilesWaitingEvent;
    }
  | {
      kind: "files_taken";
      data: FilesTakenEvent;
    }
  | {
      kind: "image_added";
      data: ImageAddedEvent;
    }
  | {
      kind: "prompt_failed";
      data: PromptFailedEvent;
    }
  | {
      kind: "prompt_lost";
      data: PromptLostEvent;
    }
  | {
      kind: "prompt_removed";
      data: PromptRemovedEvent;
    }
  | {
      kind: "image_kept";
      data: ImageKeptEvent;
    }
  | {
      kind: "upload_started";
      data: UploadStartedEvent;
    }
  | {
      kind: "image_uploaded";
      data: ImageUploadedEvent;
    }
  | {
      kind: "image_parked";
      data: ImageParkedEvent;
    }
  | {
      kind: "store_dropped";
      data: StoreDroppedEvent;
    }
  | {
      kind: "store_owed";
      data: StoreOwedEvent;
    }
  | {
      kind: "image_lost";
      data: ImageLostEvent;
    }
  | {
      kind: "image_renumbered";
      data: ImageRenumberedEvent;
    }
  | {
      kind: "image_failed";
      data: ImageFailedEvent;
    }
  | {
      kind: "image_cancelled";
      data: ImageCancelledEvent;
    }
  | {
      kind: "image_forgotten";
      data: ImageForgottenEvent;
    }
  | {
      kind: "blob_erased";
      data: BlobErasedEvent;
    }
  | {
      kind: "image_deleted";
      data: ImageDeletedEvent;
    }
  | {
      kind: "image_left";
      data: ImageLeftEvent;
    }
  | {
      kind: "lane_paused";
      data: LanePausedEvent;
    }
  | {
      kind: "lane_resumed";
      data: LaneResumedEvent;
    }
  | {
      kind: "ledger_restored";
      data: LedgerRestoredEvent;
    }
  | {
      kind: "input_added";
      data: InputAddedEvent;
    }
  | {
      kind: "input_sent";
      data: InputSentEvent;
    }
  | {
      kind: "input_forgotten";
      data: InputForgottenEvent;
    }
  | {
      kind: "input_erased";
      data: InputErasedEvent;
    }
  | {
      kind: "input_removed";
      data: InputRemovedEvent;
    }
  | {
      kind: "sources_fixed";
      data: SourcesFixedEvent;
    }
  | {
      kind: "prompt_moved";
      data: PromptMovedEvent;
    }
  | {
      kind: "stray_ended";
      data: StrayEndedEvent;
    }
  | {
      kind: "backend_added";
      data: BackendAddedEvent;
    }
  | {
      kind: "backend_removed";
      data: BackendRemovedEvent;
    }
  | {
      kind: "webhook_added";
      data: WebhookAddedEvent;
    }
  | {
      kind: "webhook_removed";
      data: WebhookRemovedEvent;
    }
  | {
      kind: "webhook_paused";
      data: WebhookPausedEvent;
    }
  | {
      kind: "webhook_resumed";
      data: WebhookResumedEvent;
    }
  | {
      kind: "batch_prioritized";
      data: BatchPrioritizedEvent;
    }
  | {
      kind: "image_reviewed";
      data: ImageReviewedEvent;
    }
  | {
      kind: "box_joined";
      data: BoxJoinedEvent;
    }
  | {
      kind: "box_left";
      data: BoxLeftEvent;
    }
  | {
      kind: "box_given_up";
      data: BoxGivenUpEvent;
    }
  | {
      kind: "image_taken_over";
      data: ImageTakenOverEvent;
    };
/**
 * An event of a page, with the fields of `event`.
 */
export type PastEvent = PastEventPlace & EventOfKind;

/**
 * All that goes over comfyledger's websocket: the frames of both sides, and the result of each request. A single frame is valid under `#/$defs/ClientFrame` or `#/$defs/ServerFrame`.
 */
export interface Wire {
  client: ClientFrame;
  server: ServerFrame;
  results: Results;
}
export interface HelloRequest {
  type: "hello";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: Hello;
}
/**
 * Names the client. Optional: without it the label is `default`. Each label has its own request ids, so two apps may use the same id without a conflict. A token of `comfyledger token add` has its own label; with such a token, `client` changes nothing.
 */
export interface Hello {
  /**
   * The label that request ids belong to.
   */
  client: string;
  /**
   * The client's version of the protocol. If the daemon has another version, it refuses with `protocol_version`.
   */
  protocol?: number;
}
export interface SubmitBatchRequest {
  type: "submit_batch";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: SubmitBatch;
}
/**
 * Asks for images. The answer comes once the batch and its numbers are on stable storage.
 */
export interface SubmitBatch {
  /**
   * Made up once for each batch, 1 to 128 bytes. A repeat with the same body gets the same answer.
   */
  request_id: string;
  /**
   * The user whom the images are for. Keeps its case in names. Required without `like`.
   */
  username?: string | null;
  /**
   * The character that the images show. Becomes a slug in names: `Opal Fever` gives `opal-fever`. Required without `like`.
   */
  character?: string | null;
  /**
   * Whether the character exists already; chooses the folder. Default: false, or with `like` as in the recipe.
   */
  premade?: boolean | null;
  /**
   * How many images with equal inputs; with several outputs, how many from each output. Give either this or `images`. With `inputs_each`: how many of each combination; default: 1. With `like` it may be omitted.
   */
  quantity?: number | null;
  /**
   * One entry for each image, with the inputs and the seed of this image alone. With several outputs, each entry stands for one image from each output. Give either this or `quantity`.
   */
  images?: ImageAsked[] | null;
  /**
   * The name of a configured workflow, or a workflow in ComfyUI's API or UI format. Default: `default_workflow` of the configuration, or with `like` the graph of the recipe.
   */
  workflow?:
    | string
    | {
        [k: string]: unknown;
      }
    | null;
  /**
   * The id of the node whose files become images. Default: the nodes that the configuration names; if it names none, every result that the workflow saves.
   */
  output?: string | null;
  /**
   * Several such nodes, instead of `output`. Each unit of `quantity` gives one image from each node, in this order.
   */
  outputs?:
    | [string]
    | [string, string]
    | [string, string, string]
    | [string, string, string, string]
    | [string, string, string, string, string]
    | [string, string, string, string, string, string]
    | [string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string, string, string, string, string, string, string]
    | [
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string
      ]
    | [
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string
      ]
    | null;
  /**
   * Values for all images, by the names that the configuration gives (`prompt`) or by address (`6.text`). A value must have the type that the graph has there.
   */
  inputs?: {
    [k: string]: string | number | boolean | FileAsked | null;
  };
  /**
   * Several values for each of these inputs. Each combination of the values gives one image, or `quantity` images. The last input changes fastest. These values override `inputs`. Cannot be given together with `images`.
   */
  inputs_each?: {
    /**
     * @minItems 1
     */
    [k: string]: [
      string | number | number | boolean | FileAsked | null,
      ...(string | number | number | boolean | FileAsked | null)[]
    ];
  };
  /**
   * Whether the defaults that the configuration has for the character are used: its workflow and its inputs where the request gives none, and its template around the `prompt`. Default: true if `character_defaults_for` of the configuration names the label and the character is known, else false. With `like`, `true` is refused.
   */
  character_defaults?: boolean | null;
  /**
   * The seed of the first prompt, 0 to 2^53-1; the next prompts count up from it. If `random`, or if absent without `like`, a seed from 0 to 2^31-1 is made up that is in the range of each node that gets it. With `like`, an absent seed is the seed of the recipe, and `+1` is the seed of the recipe plus one.
   */
  seed?: number | string | null;
  /**
   * How many images ComfyUI renders in one run (its `batch_size`). Only neighbouring images with equal inputs share a run, and only if they have no `seed` in `images`. If the daemon does not set the workflow's batch size, give here how many images the workflow makes in one run. In this case, neighbouring images that have the same `seed` in `images` share a run, too, and the length of each sequence of neighbouring equal images must be a multiple of this number. Default: 1, or with `like` as many as the run made.
   */
  images_per_prompt?: number | null;
  /**
   * How urgent the batch is, compared with other batches. A priority that was not served for `priority_age_s` seconds counts as the next higher one.
   */
  priority?: "high" | "low" | "normal";
  /**
   * The name of the only ComfyUI that may render the batch. Default: every ComfyUI that can. It is not taken over by `like`.
   */
  backend?: string | null;
  /**
   * Tags that a ComfyUI must have to render the batch, beside those that the configuration names for the workflow. Missing nodes and models are noticed without tags. Default: none, or with `like` those of the recipe.
   */
  needs?:
    | []
    | [string]
    | [string, string]
    | [string, string, string]
    | [string, string, string, string]
    | [string, string, string, string, string]
    | [string, string, string, string, string, string]
    | [string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string, string, string, string, string, string, string]
    | [
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string
      ]
    | [
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string
      ]
    | null;
  /**
   * For the client's own use; returned with the batch.
   *
   * @maxItems 50
   */
  tags?: string[];
  /**
   * For the client's own use; returned with the batch.
   */
  metadata?: {
    [k: string]: unknown;
  };
  /**
   * Only check the request. What would be refused is refused, but no number is given and the `request_id` is not used up. The answer has the numbers and names that the images would get now.
   */
  dry_run?: boolean;
  /**
   * An image whose recipe is used again: its public id or `<batch_id>/<index>`. What the request omits is taken from the recipe: user, character, `premade`, the graph, inputs, files, seed and `images_per_prompt`. By default the batch has as many images as the run made. `inputs` override the same inputs of the recipe. If the request gives a `workflow`, this workflow gets the named inputs of the recipe. The batch records the image as its origin.
   */
  like?: string | null;
  /**
   * Where the events of this batch are delivered as well: the name of a webhook of the configuration, or an address below that of one with `per_batch`, without a user and a query. The log records it, and it is not erased. It is not taken over by `like`.
   */
  webhook?: string | null;
}
/**
 * One image of `images` in `submit_batch`.
 */
export interface ImageAsked {
  /**
   * Values for this image alone; they override those of the batch.
   */
  inputs?: {
    [k: string]: string | number | boolean | FileAsked | null;
  };
  /**
   * The seed of this image alone, 0 to 2^53-1.
   */
  seed?: number | null;
}
export interface CheckWorkflowRequest {
  type: "check_workflow";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: CheckWorkflow;
}
/**
 * Asks what would be done with a workflow, and whether it is accepted. Nothing is submitted, no number is used.
 */
export interface CheckWorkflow {
  /**
   * A workflow in ComfyUI's API or UI format, as in `submit_batch`.
   */
  workflow: {
    [k: string]: unknown;
  };
  /**
   * Check everything that a submission checks, against ComfyUI's node classes. Otherwise the verdict is about form, outputs, seeds and batch size alone.
   */
  strict?: boolean;
  /**
   * Also answer with the graph, in ComfyUI's API format.
   */
  convert?: boolean;
}
export interface DescribeWorkflowRequest {
  type: "describe_workflow";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: DescribeWorkflow;
}
/**
 * The inputs of a configured workflow: of what kind each is, what it has if a request omits it, and which values the ComfyUIs take that can run the workflow. For forms.
 */
export interface DescribeWorkflow {
  /**
   * A configured workflow.
   */
  workflow: string;
}
export interface OpenSeriesRequest {
  type: "open_series";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: OpenSeries;
}
/**
 * Asks the stores for the numbers of a user and character now, instead of at the first batch. The answer shows the next number, but does not give it to an image.
 */
export interface OpenSeries {
  /**
   * The user, as in `submit_batch`.
   */
  username: string;
  /**
   * The character, as in `submit_batch`.
   */
  character: string;
  /**
   * Whether the character exists already, as in `submit_batch`.
   */
  premade?: boolean;
  /**
   * The medium of the files in the series.
   */
  medium?: "audio" | "file" | "image" | "model" | "video";
}
export interface GetBatchRequest {
  type: "get_batch";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: GetBatch;
}
/**
 * One batch with all its images.
 */
export interface GetBatch {
  /**
   * From the answer to `submit_batch`.
   */
  batch_id: string;
}
export interface ListBatchesRequest {
  type: "list_batches";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data?: ListBatches;
}
/**
 * Batches, newest first, page by page.
 */
export interface ListBatches {
  /**
   * Only what belongs to this user, ignoring case.
   */
  username?: string | null;
  /**
   * Only batches that are open or held.
   */
  open_only?: boolean;
  /**
   * Continue after this batch of an earlier page.
   */
  before?: string | null;
  /**
   * Size of one page.
   */
  limit?: number;
}
export interface GetImageRequest {
  type: "get_image";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: GetImage;
}
/**
 * One image with its uploads.
 */
export interface GetImage {
  /**
   * The whole public id, folder included, ignoring case; or `<batch_id>/<index>`.
   */
  image: string;
}
export interface GetRecipeRequest {
  type: "get_recipe";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: GetRecipe;
}
/**
 * What made an image: workflow, inputs, seed, the images of its run, ComfyUI and its version, and times; with `graph` also the graph that was sent.
 */
export interface GetRecipe {
  /**
   * As for `get_image`.
   */
  image: string;
  /**
   * Also answer with the graph that was sent, secrets masked.
   */
  graph?: boolean;
}
export interface ListImagesRequest {
  type: "list_images";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data?: ListImages;
}
/**
 * Images, newest batch first, page by page.
 */
export interface ListImages {
  /**
   * Only this batch.
   */
  batch_id?: string | null;
  /**
   * Only what belongs to this user, ignoring case.
   */
  username?: string | null;
  /**
   * Only images in this state.
   */
  state?: ("cancelled" | "failed" | "forgetting" | "forgotten" | "kept" | "parked" | "pending" | "stored") | null;
  /**
   * Continue after this image of an earlier page: `<batch_id>/<index>`.
   */
  before?: string | null;
  /**
   * Size of one page.
   */
  limit?: number;
  /**
   * Only images of this character, ignoring case.
   */
  character?: string | null;
  /**
   * Only images of this configured workflow; an empty text for graphs of requests.
   */
  workflow?: string | null;
  /**
   * Only images that failed, were parked or were cancelled with this code.
   */
  code?: string | null;
  /**
   * Only images with this verdict; `none` for those without one.
   */
  verdict?: ("approved" | "none" | "rejected") | null;
  /**
   * Only images that are rated so high or higher.
   */
  rating_min?: number | null;
  /**
   * Only images that are expected to be of this medium.
   */
  medium?: ("audio" | "file" | "image" | "model" | "video") | null;
  /**
   * Only images that were asked for at or after this time, in milliseconds since 1970, UTC.
   */
  since_ms?: number | null;
  /**
   * Only images that were asked for at or before this time, in milliseconds since 1970, UTC.
   */
  until_ms?: number | null;
}
export interface CountImagesRequest {
  type: "count_images";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data?: CountImages;
}
/**
 * How many images fit, on request also in groups. Cursors let a client read any page without those before it.
 */
export interface CountImages {
  /**
   * Only this batch.
   */
  batch_id?: string | null;
  /**
   * Only what belongs to this user, ignoring case.
   */
  username?: string | null;
  /**
   * Only images of this character, ignoring case.
   */
  character?: string | null;
  /**
   * Only images of this configured workflow; an empty text for graphs of requests.
   */
  workflow?: string | null;
  /**
   * Only images in this state.
   */
  state?: ("cancelled" | "failed" | "forgetting" | "forgotten" | "kept" | "parked" | "pending" | "stored") | null;
  /**
   * Only images that failed, were parked or were cancelled with this code.
   */
  code?: string | null;
  /**
   * Only images with this verdict; `none` for those without one.
   */
  verdict?: ("approved" | "none" | "rejected") | null;
  /**
   * Only images that are rated so high or higher.
   */
  rating_min?: number | null;
  /**
   * Only images that are expected to be of this medium.
   */
  medium?: ("audio" | "file" | "image" | "model" | "video") | null;
  /**
   * Only images that were asked for at or after this time, in milliseconds since 1970, UTC.
   */
  since_ms?: number | null;
  /**
   * Only images that were asked for at or before this time, in milliseconds since 1970, UTC.
   */
  until_ms?: number | null;
  /**
   * Also count the images that are alike in this.
   */
  by?: ("character" | "code" | "medium" | "state" | "username" | "verdict" | "workflow") | null;
  /**
   * Also find the cursor of each page, if a page has so many images. 0 for no cursors.
   */
  cursors_every?: number;
}
export interface ListCharactersRequest {
  type: "list_characters";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data?: ListCharacters;
}
/**
 * The characters that have defaults, by name, page by page, and what each ComfyUI lacks for them.
 */
export interface ListCharacters {
  /**
   * Continue after this character of an earlier page.
   */
  before?: string | null;
  /**
   * Size of one page.
   */
  limit?: number;
}
export interface AddInputRequest {
  type: "add_input";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: AddInput;
}
/**
 * Has the daemon fetch an input file, once. A server that `[inputs] url_hosts` does not name is refused as `url_not_allowed`. To send a file of your own, use `PUT /v1/inputs`.
 */
export interface AddInput {
  /**
   * Its address. Redirects are not followed.
   */
  url: string;
}
export interface ListInputsRequest {
  type: "list_inputs";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data?: ListInputs;
}
/**
 * The input files that can be used, newest first, page by page.
 */
export interface ListInputs {
  /**
   * Continue after an earlier page, with the `next_cursor` of its answer.
   */
  before?: string | null;
  /**
   * Size of one page.
   */
  limit?: number;
}
export interface ForgetInputRequest {
  type: "forget_input";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: ForgetInput;
}
/**
 * Gives up an input file. No new batch of this client may use it. It is erased once no other client has it and no open batch needs it, here and at every ComfyUI.
 */
export interface ForgetInput {
  /**
   * The input file, as an answer named it: `sha256:` and its digest.
   */
  input: string;
  /**
   * Also for all other clients that have it. This needs the right `admin`.
   */
  all_labels?: boolean;
}
export interface AddBackendRequest {
  type: "add_backend";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: AddBackend;
}
/**
 * Adds a ComfyUI that the configuration does not name, or gives one that was added other values. Repeat the request before `ttl_s` is over to keep it; with equal values, that writes no event. Its address must fit `[backends] allowed` (`backend_not_allowed`). A name of the configuration, and an address that another name has, are refused as `backend_exists`. In a fleet it becomes a ComfyUI of the box that is asked, and its name begins with the name of that box, whether the request says so or not.
 */
export interface AddBackend {
  /**
   * The name of the ComfyUI.
   */
  name: string;
  /**
   * Its address: http:// or https://, a host, perhaps a port and a path; no user.
   */
  url: string;
  /**
   * What it can do, in words of yours, which workflows and requests may need.
   *
   * @maxItems 32
   */
  tags?: string[];
  /**
   * Seconds after which it is removed, and its prompts go to others; 0 for never.
   */
  ttl_s?: number;
  /**
   * Our prompts in its queue; 0 leaves it to the daemon, as in the configuration.
   */
  queue_depth?: number;
}
export interface RemoveBackendRequest {
  type: "remove_backend";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: RemoveBackend;
}
/**
 * Removes a ComfyUI that a client added. While it has prompts, this is refused as `backend_busy` unless `move` is true; then the prompts go to others. One that nobody added is `unknown_backend`.
 */
export interface RemoveBackend {
  /**
   * The name of the ComfyUI.
   */
  name: string;
  /**
   * Whether its prompts go to others.
   */
  move?: boolean;
}
export interface GiveUpBoxRequest {
  type: "give_up_box";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: GiveUpBox;
}
/**
 * Says that a box which has left the fleet does not come back with the images that only it keeps. They are rendered again under their numbers, without the wait of `[box] orphan_after_s`. A box that takes part is `box_present`, and one that has never joined is `unknown_box`. To give up a box again changes nothing.
 */
export interface GiveUpBox {
  /**
   * The name of the box.
   */
  name: string;
}
export interface CancelRequest {
  type: "cancel";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: Cancel;
}
/**
 * Gives up what is not rendered yet: a whole batch, or some of its images. Kept images still go to their stores, and stored images stay. Numbers stay used.
 */
export interface Cancel {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * Indexes in the batch, from 1. Empty means all.
   *
   * @maxItems 10000
   */
  images?: number[];
}
export interface RetryRequest {
  type: "retry";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: Retry;
}
/**
 * Tries again what failed, was parked or is held, under the same numbers. Refused with `nothing_to_do` if there is nothing to try, and with `take_missing` if a person must first choose files with `take`.
 */
export interface Retry {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * Indexes in the batch, from 1. Empty means all.
   *
   * @maxItems 10000
   */
  images?: number[];
  /**
   * Which files to use, if a run gave more files than images.
   */
  take?: ("all" | "first" | "last") | null;
}
export interface SetPriorityRequest {
  type: "set_priority";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: SetPriority;
}
/**
 * Makes a batch more or less urgent. Its prompts that wait change their place; prompts that are at ComfyUI already stay there. The same priority again changes nothing. Refused with `nothing_to_do` if the batch is settled.
 */
export interface SetPriority {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * How urgent it is from now on, compared with other batches.
   */
  priority: "high" | "low" | "normal";
}
export interface RecoverRequest {
  type: "recover";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data?: Recover;
}
/**
 * Tries again what is parked, failed or missing, a page of images at a time, newest batch first. Send the request again with the `cursor` of the answer, until `cursor` is empty.
 */
export interface Recover {
  /**
   * The store to give up, whether it is still configured or not.
   */
  drop_store?: string | null;
  /**
   * Say what would be done, and change nothing.
   */
  dry_run?: boolean;
  /**
   * Only images of this batch.
   */
  batch_id?: string | null;
  /**
   * Only images of this user's batches.
   */
  username?: string | null;
  /**
   * Only what is owed to this store. The store must be configured. With `store`, nothing is rendered again.
   */
  store?: string | null;
  /**
   * Only what was parked or failed with this code.
   */
  code?: string | null;
  /**
   * Only batches that were requested at this position or later. With `store`, images that were never meant for this store are uploaded to it, too.
   */
  since_position?: number | null;
  /**
   * Only batches that were requested at this time or later, in milliseconds since 1970, UTC. With `store`, the same as for `since_position`.
   */
  since_ms?: number | null;
  /**
   * Ask the stores what they hold. Missing files are uploaded again; files with other bytes are only reported.
   */
  missing?: boolean;
  /**
   * Give images parked with `collision` the next numbers of their series, instead of trying the same numbers again.
   */
  new_number?: boolean;
  /**
   * From the previous answer.
   */
  cursor?: string;
  /**
   * How many images one request checks.
   */
  limit?: number;
  /**
   * A ComfyUI that is not configured any more, to give up: the input files that it has are not removed there.
   */
  drop_comfyui?: string | null;
}
export interface ForgetRequest {
  type: "forget";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data?: Forget;
}
/**
 * Erases texts and files: of a batch, of some of its images, or of all batches of a user.
 */
export interface Forget {
  /**
   * The batch. Either this or `username`.
   */
  batch_id?: string | null;
  /**
   * Indexes in the batch, from 1. Empty means all.
   *
   * @maxItems 10000
   */
  images?: number[];
  /**
   * The user, ignoring case.
   */
  username?: string | null;
  /**
   * With `username`: continue after this batch. Give the `before` of the last answer.
   */
  before?: string | null;
  /**
   * Also ask the stores to delete their files.
   */
  stores?: boolean;
  /**
   * Only count; change nothing.
   */
  dry_run?: boolean;
}
export interface ReviewRequest {
  type: "review";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: Review;
}
/**
 * Approves, rejects or rates images, or takes that back. Give `verdict`, `rating` or both; what is missing stays as it is. Either all images are reviewed or none: if one has no file, the request is refused with `no_file`. What has these values already is left as it is, so a repeat changes nothing.
 */
export interface Review {
  /**
   * The images: each by its public id or as `<batch_id>/<index>`.
   *
   * @minItems 1
   * @maxItems 500
   */
  images: [string, ...string[]];
  /**
   * The verdict; `none` takes one back.
   */
  verdict?: ("approved" | "none" | "rejected") | null;
  /**
   * From 1 to 5; 0 takes a rating back.
   */
  rating?: number | null;
  /**
   * With the verdict `rejected`: also forget the images, as `forget` does. Needs the right `admin`. First all images are rejected, then they are forgotten, batch by batch. After an interruption, repeat the request: it goes on where it stopped.
   */
  forget?: boolean;
  /**
   * With `forget`: also ask the stores to delete their files.
   */
  stores?: boolean;
}
export interface PauseRequest {
  type: "pause";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data?: Pause;
}
/**
 * Stops new work. Prompts that are already at ComfyUI run to their end. Pausing twice is not an error.
 */
export interface Pause {
  /**
   * What to pause: `everything`, `backend:NAME`, `store:NAME`, `user:NAME`, `batch:ID` or `webhook:NAME`.
   */
  scope?: string;
}
export interface MoveRequest {
  type: "move";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: Move;
}
/**
 * Pauses a ComfyUI, and gives the prompts that it has to others. What it is rendering is cancelled there, also later if it does not answer now. A repeat moves what has stayed, if it may go elsewhere now.
 */
export interface Move {
  /**
   * Which ComfyUI: `backend:NAME`.
   */
  scope: string;
}
export interface ResumeRequest {
  type: "resume";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data?: Resume;
}
/**
 * Undoes a pause, or lets a held batch continue. Refused with `nothing_to_do` if the scope is neither paused nor held. A lane in trouble resumes by itself when it works; `resume` has it tried now.
 */
export interface Resume {
  /**
   * What to resume: `everything`, `backend:NAME`, `store:NAME`, `user:NAME`, `batch:ID` or `webhook:NAME`.
   */
  scope?: string;
}
export interface SubscribeRequest {
  type: "subscribe";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data?: Subscribe;
}
/**
 * Events of the log: first all after a position, then new ones as they come, without gap or duplicate.
 */
export interface Subscribe {
  /**
   * The last position that the client has seen. 0 is the beginning of the log, -1 is now.
   */
  after?: number;
  /**
   * The epoch that `after` belongs to; required if `after` is above 0.
   */
  epoch?: string | null;
  /**
   * Only this batch.
   */
  batch_id?: string | null;
  /**
   * Only what belongs to this user, ignoring case.
   */
  username?: string | null;
  /**
   * Only these kinds of event.
   */
  kinds?: string[] | null;
  /**
   * Also send steps of running prompts, as `progress`.
   */
  progress?: boolean;
  /**
   * Also send previews, as `preview`. This sends `progress` as well. A prompt that was sent to ComfyUI before the subscription began has no previews, unless ComfyUI runs with `--preview-method`.
   */
  previews?: boolean;
}
export interface UnsubscribeRequest {
  type: "unsubscribe";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: Unsubscribe;
}
/**
 * Ends a subscription of this connection.
 */
export interface Unsubscribe {
  /**
   * From the answer to `subscribe`.
   */
  subscription: string;
}
export interface ReadLogRequest {
  type: "read_log";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data?: ReadLog;
}
/**
 * A page of past events: of one batch, of one user, or all. With `reverse` the newest events come first.
 */
export interface ReadLog {
  /**
   * Only positions above this.
   */
  after?: number;
  /**
   * Only positions up to this. Default: the end of the log.
   */
  upto?: number | null;
  /**
   * The epoch that the positions belong to; required if `after` is above 0.
   */
  epoch?: string | null;
  /**
   * Only this batch.
   */
  batch_id?: string | null;
  /**
   * Only what belongs to this user, ignoring case.
   */
  username?: string | null;
  /**
   * Only batches of this character. Requires `username`.
   */
  character?: string | null;
  /**
   * Only these kinds of event.
   */
  kinds?: string[] | null;
  /**
   * Only events at or after this time, in milliseconds since 1970, UTC.
   */
  since_ms?: number | null;
  /**
   * Only events at or before this time, in milliseconds since 1970, UTC.
   */
  until_ms?: number | null;
  /**
   * Newest first, from `upto` downwards.
   */
  reverse?: boolean;
  /**
   * Size of one page.
   */
  limit?: number;
}
export interface ExplainRequest {
  type: "explain";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: Explain;
}
/**
 * The history of an image, a batch, or a number without an image: its events in order, lane events in between, what is still owed, and why it waits.
 */
export interface Explain {
  /**
   * Name, id or number.
   */
  what: string;
  /**
   * Together with `character`: whose number `what` is.
   */
  username?: string | null;
  /**
   * Together with `username`.
   */
  character?: string | null;
}
export interface ServerInfoRequest {
  type: "server_info";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data?: ServerInfo;
}
/**
 * The state of the daemon, its lanes, backends and stores.
 */
export interface ServerInfo {
  /**
   * Also say of each ComfyUI which configured workflows it can run: `fits` and `lacks`.
   */
  fits?: boolean;
}
export interface SurveyStoreRequest {
  type: "survey_store";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: SurveyStore;
}
/**
 * One page of the files that a store holds already, grouped into series by the naming templates. The request makes one call to the store and changes nothing there.
 */
export interface SurveyStore {
  /**
   * Its name in the configuration.
   */
  store: string;
  /**
   * Only files in this folder or below. Empty means all.
   */
  prefix?: string;
  /**
   * From the previous page; empty for the first. Still valid after a restart.
   */
  cursor?: string;
}
export interface RaiseSeriesRequest {
  type: "raise_series";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: RaiseSeries;
}
/**
 * Makes series continue above the numbers that a store holds, so that their first batch need not ask this store. Numbers are never lowered, and a repeat changes nothing.
 */
export interface RaiseSeries {
  /**
   * Its name in the configuration.
   */
  store: string;
  /**
   * The series that the store holds, at least one.
   *
   * @minItems 1
   * @maxItems 500
   */
  found: [SeriesFound, ...SeriesFound[]];
}
/**
 * A series that a store holds, in `raise_series`. An entry that is not a series under the naming templates is refused with `invalid_field`.
 */
export interface SeriesFound {
  /**
   * The folder of its images.
   */
  folder: string;
  /**
   * The file name before the number.
   */
  stem: string;
  /**
   * The highest number found.
   */
  highest: number;
  /**
   * The file name after the number.
   */
  suffix?: string;
  /**
   * `false` if all numbers that were found are ignored as outliers. Then `highest` is ignored, too.
   */
  counts?: boolean;
}
export interface AddWebhookRequest {
  type: "add_webhook";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: AddWebhook;
}
/**
 * Adds a webhook that the configuration does not name, or gives one that was added another address or other kinds. It delivers the events that follow. Its address must fit `webhooks_allowed` (`webhook_not_allowed`). The answer has its secret; a repeat with equal values has the same one and writes no event.
 */
export interface AddWebhook {
  /**
   * The name of the webhook.
   */
  name: string;
  /**
   * Its address: https://, a host, perhaps a port and a path; no user and no query. http:// if `webhooks_allowed` says so.
   */
  url: string;
  /**
   * Kinds of events. Empty: `image_uploaded`, `image_failed`, `image_parked` and `batch_settled`.
   *
   * @maxItems 64
   */
  kinds?: string[];
}
export interface RemoveWebhookRequest {
  type: "remove_webhook";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: RemoveWebhook;
}
/**
 * Removes a webhook that was added. What it has not delivered is not delivered. One that nobody added is `unknown_webhook`.
 */
export interface RemoveWebhook {
  /**
   * The name of the webhook.
   */
  name: string;
}
export interface ListWebhooksRequest {
  type: "list_webhooks";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data?: ListWebhooks;
}
/**
 * Asks for all webhooks, those of the configuration and those that were added, and how their deliveries are.
 */
export interface ListWebhooks {}
export interface TestWebhookRequest {
  type: "test_webhook";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: TestWebhook;
}
/**
 * Sends one signed request of the type `webhook.test` to a webhook now, and answers with what came of it. Its deliveries do not change, and it may be paused.
 */
export interface TestWebhook {
  /**
   * The name of the webhook.
   */
  name: string;
}
export interface ReplayWebhookRequest {
  type: "replay_webhook";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data: ReplayWebhook;
}
/**
 * Delivers again what a webhook has delivered since a position or a time. Receivers know repeats by `webhook-id`. Refused with `unknown_position` if that is not in the log.
 */
export interface ReplayWebhook {
  /**
   * The name of the webhook.
   */
  name: string;
  /**
   * The first event to be delivered again. Either this or `since_ms`.
   */
  since_position?: number | null;
  /**
   * Events from this time on, in milliseconds since 1970, UTC.
   */
  since_ms?: number | null;
  /**
   * Only count; change nothing.
   */
  dry_run?: boolean;
}
export interface ListChecksRequest {
  type: "list_checks";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data?: ListChecks;
}
/**
 * What `comfyledger audit` and `comfyledger doctor` found when they ran last on this machine.
 */
export interface ListChecks {}
export interface ActivityRequest {
  type: "activity";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id?: string | number | null;
  data?: GetActivity;
}
/**
 * What happened in each step of a span: images requested, rendered by each ComfyUI, stored, parked and failed, and how long prompts waited. Without `since_ms`, the last day.
 */
export interface GetActivity {
  /**
   * From this time on, in milliseconds since 1970, UTC.
   */
  since_ms?: number | null;
  /**
   * Up to this time, in milliseconds since 1970, UTC; now if omitted.
   */
  until_ms?: number | null;
  /**
   * The length of a step, in seconds.
   */
  step_s?: number;
}
export interface ErrorFrame {
  type: "error";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: ErrorInfo;
}
/**
 * A request was refused, or a frame could not be read. Nothing was changed. `id` is that of the request, or `null` if the frame had none.
 */
export interface ErrorInfo {
  /**
   * Stable: one of the error codes.
   */
  code: ErrorCode;
  /**
   * A sentence for people.
   */
  message: string;
  /**
   * The field at fault, for example `$.data.quantity`.
   */
  path?: string;
  /**
   * What to do.
   */
  hint?: string;
  /**
   * In how many seconds the same request may succeed; 0 if waiting does not help.
   */
  retry_after_s?: number;
  /**
   * What ComfyUI would not take, at most 100; only with the code `workflow_failed_validation`.
   */
  mistakes?: MistakeInfo[];
}
/**
 * A mistake in a workflow, for which ComfyUI would refuse the workflow.
 */
export interface MistakeInfo {
  /**
   * The id of the node.
   */
  node: string;
  /**
   * The class of the node.
   */
  class_type: string;
  /**
   * What is wrong, in ComfyUI's own word: `missing_node_type`, `prompt_no_outputs`, `required_input_missing`, `bad_linked_input`, `return_type_mismatch`, `invalid_input_type`, `value_smaller_than_min`, `value_bigger_than_max`, `value_not_in_list` or `dependency_cycle`.
   */
  kind: string;
  /**
   * A sentence for people, with node and class.
   */
  message: string;
  /**
   * The input; empty if the node as a whole is meant.
   */
  input?: string;
  /**
   * The value that the workflow has there, cut off; empty if there is none.
   */
  found?: string;
  /**
   * The nearest names that ComfyUI has, at most 3.
   */
  near?: string[];
}
export interface WaitingFrame {
  type: "waiting";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Waiting;
}
/**
 * A request was read and cannot be answered yet. A `result` or an `error` with the same `id` follows. `waiting` is sent once, after half a second. A request waits in memory only.
 */
export interface Waiting {
  /**
   * Always `series_unanswered`, also if the request waits for ComfyUI.
   */
  code: string;
  /**
   * A sentence for people.
   */
  message: string;
}
export interface EventFrame {
  type: "event";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: LoggedEvent;
}
/**
 * Where an event is in the log, and for whom.
 */
export interface LoggedEventPlace {
  /**
   * The subscription that this is for.
   */
  subscription: string;
  /**
   * The epoch that `position` belongs to.
   */
  epoch: string;
  /**
   * The event's place in the log.
   */
  position: number;
  /**
   * When the event was written, in milliseconds since 1970, UTC.
   */
  at_ms: number;
  /**
   * The batch id, `series/…`, `lane/…` or `ledger`.
   */
  stream: string;
  /**
   * The text whose digest is `words` in `data`, if it is still kept.
   */
  texts?: {
    [k: string]: string;
  };
}
/**
 * A series begins. Before its first number was given, the stores were asked for the highest number of the series that they hold, unless `asked` is false.
 */
export interface SeriesOpenedEvent {
  /**
   * The series: everything in the name before the number, with case folded.
   */
  series: string;
  /**
   * The folder of its images, as written, case not folded.
   */
  folder: string;
  /**
   * The first number that will be given.
   */
  next: number;
  /**
   * What each store answered.
   */
  evidence?: Evidence[];
  /**
   * Whether the stores were asked; false if `first_use = "trust"` skipped the question.
   */
  asked?: boolean;
  /**
   * The label of the client that caused it; empty if no client did.
   */
  by?: string;
}
/**
 * What was found in one place: a store, or the old ledger of a restore.
 */
export interface Evidence {
  /**
   * The store's name in the configuration, or `old ledger`.
   */
  store: string;
  /**
   * The identity of the store: which place it was.
   */
  identity: string;
  /**
   * The highest number found, 0 for none.
   */
  highest: number;
}
/**
 * An import found that a store holds higher numbers of a series, or a restore raised the series above all numbers that may have been given after the backup.
 */
export interface SeriesRaisedEvent {
  /**
   * The series: everything in the name before the number, with case folded.
   */
  series: string;
  /**
   * The folder of its images, as written, case not folded.
   */
  folder: string;
  /**
   * The number that will be given next. Lower numbers without a batch in this log were skipped.
   */
  next: number;
  /**
   * What was found in each place.
   */
  evidence: Evidence[];
  /**
   * Why: `import` or `restore`.
   */
  reason: string;
  /**
   * The label of the client.
   */
  by: string;
}
/**
 * A batch was accepted: its numbers are given, its prompts are fixed and its stores are named. The app gets its answer after this event is on stable storage.
 */
export interface BatchRequestedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The label of the client.
   */
  label: string;
  /**
   * The request id of the batch.
   */
  request_id: string;
  /**
   * Keyed digest of the request as sent, to detect another body under the same id.
   */
  request_digest: string;
  /**
   * The user, as the client wrote it.
   */
  username: string;
  /**
   * The user with case folded; filters compare this.
   */
  user_key: string;
  /**
   * The character, as the client wrote it.
   */
  character: string;
  /**
   * Whether the character existed already, as in the request.
   */
  premade: boolean;
  /**
   * The series of the numbers of its first output.
   */
  series: string;
  /**
   * The configured name of the workflow, or empty.
   */
  workflow: string;
  /**
   * Digest of the graph before seeds, batch size and prefix are filled in.
   */
  template: string;
  /**
   * Where prefix, seeds, batch size and inputs go in the graph.
   */
  plan: {
    [k: string]: unknown;
  };
  /**
   * Every image with its number and name.
   */
  images: ImageNamed[];
  /**
   * Every prompt with its images, seed and inputs.
   */
  prompts: PromptFixed[];
  /**
   * Every store that the images go to.
   */
  stores: StoreRef[];
  /**
   * How urgent it is: 0 high, 1 normal, 2 low.
   */
  priority?: number;
  /**
   * Digest of tags and metadata.
   */
  metadata?: string | null;
  /**
   * Every output with its series; empty in events of older releases, whose batches have one output. Images take turns: the first image belongs to the first output, the second image to the next output.
   */
  outputs?: OutputNamed[];
  /**
   * True if ComfyUI could not be asked, so that the workflow was not checked against ComfyUI's node classes. The workflow is then checked before a prompt is sent.
   */
  unchecked?: boolean;
  /**
   * The image that the request named in `like`, so that its recipe is used again; null if it named none.
   */
  origin?: Origin | null;
  /**
   * Tags that a ComfyUI must have to render it.
   */
  needs?: string[];
  /**
   * The only ComfyUI that may render it; empty if any may.
   */
  backend?: string;
  /**
   * The webhook that the request names; empty if it names none.
   */
  webhook?: string;
  /**
   * The address that the request gives for this webhook; empty for the webhook's own.
   */
  webhook_url?: string;
}
/**
 * An image with its number and name.
 */
export interface ImageNamed {
  /**
   * Its index in the batch, from 1.
   */
  index: number;
  /**
   * Its number in the series.
   */
  number: number;
  /**
   * The folder, as written, case not folded.
   */
  folder: string;
  /**
   * The file name as written, without extension.
   */
  file: string;
  /**
   * The prompt that renders it, from 1.
   */
  prompt: number;
  /**
   * The output that it comes from: its place among the outputs of the batch, from 1.
   */
  output?: number;
}
/**
 * A prompt: what ComfyUI renders in one run. It never changes.
 */
export interface PromptFixed {
  /**
   * The prompt, from 1.
   */
  index: number;
  /**
   * Indexes of its images, in the order of ComfyUI's files.
   */
  images: number[];
  /**
   * The seed of the run, 0 to 2^53-1.
   */
  seed: number;
  /**
   * Always empty: which ComfyUI renders a prompt is chosen when it is sent. Older releases named one here.
   */
  backend?: string;
  /**
   * Digest of its inputs, by node address.
   */
  inputs?: string | null;
  /**
   * The files that its graph loads.
   */
  loads?: LoadedFile[];
  /**
   * How many images in a row it is made from: 0 without a source, else one more than the deepest of its sources.
   */
  depth?: number;
  /**
   * Keyed digest of the names of the models that it loads; empty if it names none. One ComfyUI gets prompts with equal models one after the other.
   */
  models?: string;
}
/**
 * A file that a prompt loads: an input, or an earlier image as its source. Of a source the bytes are not known until they are used.
 */
export interface LoadedFile {
  /**
   * The input of the graph that gets its name.
   */
  at: string;
  /**
   * The image that it is; null for an input.
   */
  source?: ImageAt | null;
  /**
   * SHA-256 of its bytes, in hexadecimal; empty for a source that was not used yet.
   */
  sha256?: string;
  /**
   * What the bytes are.
   */
  extension?: string;
  /**
   * How many bytes they are.
   */
  size_bytes?: number;
}
/**
 * An image of the ledger. Its number and name may change, this does not.
 */
export interface ImageAt {
  /**
   * Its batch.
   */
  batch_id: string;
  /**
   * Its index in the batch, from 1.
   */
  image: number;
}
/**
 * A store of the batch.
 */
export interface StoreRef {
  /**
   * Its name in the configuration.
   */
  name: string;
  /**
   * The identity of the store: which place it was.
   */
  identity: string;
}
/**
 * An output of a batch: a node of the graph whose files become images.
 */
export interface OutputNamed {
  /**
   * The id of the node in the graph.
   */
  node: string;
  /**
   * The medium that its files are expected to have, as it stands in their names.
   */
  medium: "audio" | "file" | "image" | "model" | "video";
  /**
   * The series of the numbers of its images.
   */
  series: string;
}
/**
 * The image whose recipe a batch was made from.
 */
export interface Origin {
  /**
   * The batch of the image.
   */
  batch_id: string;
  /**
   * Index of the image in its batch, from 1.
   */
  image: number;
}
/**
 * Nothing new of the batch goes to ComfyUI until a person runs `resume batch:ID` or `retry`.
 */
export interface BatchHeldEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * Why: `person` (`pause`), `removed` or `interrupted` (somebody removed or interrupted a prompt at ComfyUI's own page), `failing` (the first three prompts all failed alike), or `unfit` (ComfyUI would refuse the workflow, for example because ComfyUI lacks a node class or a model).
   */
  reason: string;
  /**
   * The label of the client that caused it; empty if no client did.
   */
  by?: string;
  /**
   * For `unfit`: indexes of the images whose prompt was checked.
   */
  images?: number[];
  /**
   * Digest of the error text, which is in `texts` of the frame.
   */
  words?: string | null;
}
/**
 * A held batch continues.
 */
export interface BatchResumedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The label of the client that caused it; empty if no client did.
   */
  by?: string;
}
/**
 * A whole batch was given up; `image_cancelled` names the images.
 */
export interface BatchCancelledEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The label of the client.
   */
  by: string;
}
/**
 * No image of the batch is pending or kept any more. After `batch_reopened` this event comes again.
 */
export interface BatchSettledEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * Images in every store.
   */
  stored: number;
  /**
   * Images that a store refused, or that wait for a person.
   */
  parked: number;
  /**
   * Images that could not be rendered.
   */
  failed: number;
  /**
   * Images that were given up.
   */
  cancelled: number;
  /**
   * Images that were forgotten.
   */
  forgotten?: number;
}
/**
 * `retry` or `recover` tries images again, under their own numbers. The prompts of images that failed as `input_failed` look for their sources anew.
 */
export interface BatchReopenedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The label of the client.
   */
  by: string;
  /**
   * Prompts to run again.
   */
  render?: number[];
  /**
   * Images that wait for these prompts.
   */
  images?: number[];
  /**
   * Images to be stored again.
   */
  upload?: number[];
  /**
   * The image that these are made from and that is tried again, so they are too; null if they were asked for themselves. A held batch stays held then.
   */
  source?: ImageAt | null;
}
/**
 * An attempt is about to be sent to ComfyUI. The event is durable before the call, so after a crash the daemon knows where to look first.
 */
export interface PromptSubmittingEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The prompt, from 1.
   */
  prompt: number;
  /**
   * The attempt, counted from 1 for each prompt.
   */
  attempt: number;
  /**
   * ComfyUI's id of the run, made from batch, prompt and attempt.
   */
  prompt_id: string;
  /**
   * The ComfyUI that it goes to.
   */
  backend: string;
  /**
   * The places of the outputs that are asked for, from 1; empty if all are.
   */
  outputs?: number[];
  /**
   * Whether this attempt drops files that an earlier `retry --take` chose and that no image has received.
   */
  choice_over?: boolean;
  /**
   * The version of this ComfyUI; empty if it is not known.
   */
  version?: string;
  /**
   * Nodes that are not sent, because no output needs them and ComfyUI lacks their class; null if that was not recorded.
   */
  left_out?: string[] | null;
  /**
   * Which server this ComfyUI is: host, port and the path if it has one; empty if that was not recorded.
   */
  server?: string;
}
/**
 * ComfyUI has the attempt: queued, running or finished.
 */
export interface PromptAcceptedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The prompt, from 1.
   */
  prompt: number;
  /**
   * The attempt, counted from 1 for each prompt.
   */
  attempt: number;
}
/**
 * ComfyUI refused the graph. If another ComfyUI may take it, the prompt is queued again. Otherwise all pending images of the batch fail, except those of prompts that ComfyUI has accepted.
 */
export interface PromptRefusedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The prompt, from 1.
   */
  prompt: number;
  /**
   * The attempt, counted from 1 for each prompt.
   */
  attempt: number;
  /**
   * ComfyUI's code, for example `prompt_outputs_failed_validation`; or, from the daemon itself, `forgotten` (the graph or the inputs were erased), `secret_missing` (a secret is not configured) or `comfyui_refused` (ComfyUI gave no code).
   */
  code: string;
  /**
   * Digest of the error text, which is in `texts` of the frame.
   */
  words?: string | null;
  /**
   * Whether another ComfyUI may take it, so that another attempt is owed.
   */
  again?: boolean;
}
/**
 * ComfyUI wrote the files of a run. If an output gave fewer files than it has images, the images without a file fail as `wrong_count`. If an output gave more, `files_waiting` follows. If the run failed after some outputs had given their files, `code` says why; once these files are kept, `prompt_failed` follows for the other outputs.
 */
export interface PromptFinishedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The prompt, from 1.
   */
  prompt: number;
  /**
   * The attempt, counted from 1 for each prompt.
   */
  attempt: number;
  /**
   * The files that the output nodes wrote: output by output, and for each output in the order of its images.
   */
  files: OutputFile[];
  /**
   * Why some outputs of the run gave no file, as in `prompt_failed`; empty if all outputs gave files.
   */
  code?: string;
  /**
   * Digest of the error text, which is in `texts` of the frame.
   */
  words?: string | null;
}
/**
 * A file, as ComfyUI's `/view` names it.
 */
export interface OutputFile {
  /**
   * The name of the file.
   */
  filename: string;
  /**
   * Its folder, below ComfyUI's output folder.
   */
  subfolder: string;
  /**
   * Which of ComfyUI's folders the file is in: `output`.
   */
  type: string;
  /**
   * The output that it comes from: its place among the outputs of the batch, from 1.
   */
  output?: number;
}
/**
 * Outputs of a run gave more files than they have images. These files wait in the spool until `retry` with `take` chooses some of them. The images of these outputs are parked as `wrong_count`.
 */
export interface FilesWaitingEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The prompt, from 1.
   */
  prompt: number;
  /**
   * The attempt, counted from 1 for each prompt.
   */
  attempt: number;
  /**
   * Indexes of the images that wait for one of the files.
   */
  images: number[];
  /**
   * The files in the order of the run; `image` is the place of each file among the files of the run, from 1.
   */
  files: Pinned[];
  /**
   * Digest of the error text, which is in `texts` of the frame.
   */
  words?: string | null;
}
/**
 * A checked file, with the bytes that every store gets.
 */
export interface Pinned {
  /**
   * The place of the file among those of its run, from 1.
   */
  image: number;
  /**
   * SHA-256 of the bytes that all stores get, in hexadecimal.
   */
  sha256: string;
  /**
   * MD5 of the same bytes, in hexadecimal.
   */
  md5: string;
  /**
   * Size of the file in bytes.
   */
  size_bytes: number;
  /**
   * Width in pixels.
   */
  width: number;
  /**
   * Height in pixels.
   */
  height: number;
  /**
   * What the bytes are, for example `png`, `jpg`, `mp4` or `flac`.
   */
  extension: string;
  /**
   * How far the file was checked: `whole`; `structure` if the parts were checked but the content was not decoded; `length` if only its length could be compared.
   */
  checked?: "length" | "structure" | "whole";
}
/**
 * A person chose which of the waiting files to use.
 */
export interface FilesTakenEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The prompt, from 1.
   */
  prompt: number;
  /**
   * Indexes of the images that get a file now.
   */
  images: number[];
  /**
   * The place of each chosen file among the files of the run, from 1, in the order of the prompt's images.
   */
  files: number[];
  /**
   * Which files were chosen: the value of `take` in the request.
   */
  take: "all" | "first" | "last";
  /**
   * The label of the client.
   */
  by: string;
}
/**
 * A batch got one more image, with the next number of its series, for a surplus file that a person chose.
 */
export interface ImageAddedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The prompt, from 1.
   */
  prompt: number;
  /**
   * The series that gave the number.
   */
  series: string;
  /**
   * The new image's index, above the existing ones.
   */
  image: number;
  /**
   * Its number in the series.
   */
  number: number;
  /**
   * The folder, as written, case not folded.
   */
  folder: string;
  /**
   * The file name as written, without extension.
   */
  file: string;
  /**
   * The label of the client.
   */
  by: string;
  /**
   * The output that it comes from: its place among the outputs of the batch, from 1.
   */
  output?: number;
}
/**
 * An attempt failed.
 */
export interface PromptFailedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The prompt, from 1.
   */
  prompt: number;
  /**
   * The attempt, counted from 1 for each prompt.
   */
  attempt: number;
  /**
   * Why: `execution_error`, `timeout` (it ran longer than `render_timeout_s`), `wrong_count` (no file; in older releases also more files than images), `file_missing`, `broken`, `too_slow` (a file did not arrive in time), `redirected` (a file is only at another address), `poison` (the daemon stopped too often while it checked a file), `not_rendered` (an image was retried while the attempt ran, and the attempt made no file for it), `input_failed` (a file that the prompt loads cannot be had, or ComfyUI does not take it), or `http_STATUS`.
   */
  code: string;
  /**
   * Whether another attempt is owed.
   */
  again: boolean;
  /**
   * Digest of the error text, which is in `texts` of the frame.
   */
  words?: string | null;
}
/**
 * ComfyUI was restarted and does not know the attempt any more, and the files of the attempt are not on ComfyUI's disk. Another attempt is owed.
 */
export interface PromptLostEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The prompt, from 1.
   */
  prompt: number;
  /**
   * The attempt, counted from 1 for each prompt.
   */
  attempt: number;
  /**
   * Whether the prompt was running when ComfyUI stopped, which is a strike. From the first strike on, the prompt runs alone; after `poison_strikes_max` strikes its images fail as `poison`.
   */
  running?: boolean;
}
/**
 * The attempt was removed from ComfyUI.
 */
export interface PromptRemovedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The prompt, from 1.
   */
  prompt: number;
  /**
   * The attempt, counted from 1 for each prompt.
   */
  attempt: number;
  /**
   * Who removed it: `cancel` (the daemon cancelled it) or `foreign` (a person did, at ComfyUI).
   */
  by: "cancel" | "foreign";
}
/**
 * The bytes are checked and final, and they are on stable storage in the spool.
 */
export interface ImageKeptEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The prompt, from 1.
   */
  prompt: number;
  /**
   * The attempt, counted from 1 for each prompt.
   */
  attempt: number;
  /**
   * Index of the image in the batch, from 1.
   */
  image: number;
  /**
   * The public id.
   */
  name: string;
  /**
   * SHA-256 of the bytes that all stores get, in hexadecimal.
   */
  sha256: string;
  /**
   * MD5 of the same bytes, in hexadecimal.
   */
  md5: string;
  /**
   * Size of the file in bytes.
   */
  size_bytes: number;
  /**
   * Width in pixels.
   */
  width: number;
  /**
   * Height in pixels.
   */
  height: number;
  /**
   * What the bytes are, for example `png`, `jpg`, `mp4` or `flac`.
   */
  extension: string;
  /**
   * How far the file was checked: `whole`; `structure` if the parts were checked but the content was not decoded; `length` if only its length could be compared.
   */
  checked?: "length" | "structure" | "whole";
  /**
   * What the file turned out to be.
   */
  medium?: "audio" | "file" | "image" | "model" | "video";
  /**
   * The box whose spool has it; empty without a fleet.
   */
  box?: string;
}
/**
 * An upload is about to begin. The event is durable before the call.
 */
export interface UploadStartedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * Index of the image in the batch, from 1.
   */
  image: number;
  /**
   * The store's name in the configuration.
   */
  store: string;
  /**
   * The number of the upload to this store, from 1.
   */
  attempt: number;
}
/**
 * One store has the bytes. The image is stored when all its stores have them.
 */
export interface ImageUploadedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * Index of the image in the batch, from 1.
   */
  image: number;
  /**
   * The public id.
   */
  name: string;
  /**
   * The store's name in the configuration.
   */
  store: string;
  /**
   * The address of the file in the store.
   */
  url: string;
  /**
   * Whether the store had the image before this call.
   */
  replayed?: boolean;
  /**
   * Further values from the store.
   */
  details?: {
    [k: string]: string | number;
  };
}
/**
 * One store refused the image. The file stays in the spool until a person decides.
 */
export interface ImageParkedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * Index of the image in the batch, from 1.
   */
  image: number;
  /**
   * The public id.
   */
  name: string;
  /**
   * The store's name in the configuration.
   */
  store: string;
  /**
   * Why: `refused`, `collision`, `misnamed` (the store saved it under another name), `altered` (the store changed the bytes), `identity_changed` (the store's name now means another place), or `plugin_died` (the store's plugin raised an error or gave an invalid answer).
   */
  code: string;
  /**
   * Digest of the error text, which is in `texts` of the frame.
   */
  words?: string | null;
}
/**
 * A person gave up what a batch owes to a store: `recover --drop-store`. Files that the store already has stay there. An image becomes stored if all its other stores have it.
 */
export interface StoreDroppedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The store's name in the configuration.
   */
  store: string;
  /**
   * Indexes of the images in the batch, from 1.
   */
  images: number[];
  /**
   * The label of the client.
   */
  by: string;
}
/**
 * `recover` uploads images to a store again, because the store lost or refused them. Or it uploads them to a store that the batch did not have; this store is then added to the batch. The attempt number continues from the earlier uploads.
 */
export interface StoreOwedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The store.
   */
  store: StoreRef;
  /**
   * Indexes of the images in the batch, from 1.
   */
  images: number[];
  /**
   * The label of the client.
   */
  by: string;
}
/**
 * Neither the spool nor any store has the bytes of these images any more. They wait to be rendered again under the same numbers, by a new attempt of their prompt, and then go to every store.
 */
export interface ImageLostEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * Indexes of the images in the batch, from 1.
   */
  images: number[];
  /**
   * The prompts that they belong to.
   */
  prompts: number[];
}
/**
 * A store holds other bytes under the name of an image, and `recover --new-number` gave the image the next number of its series. The old name stays used and still finds the image.
 */
export interface ImageRenumberedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The series: everything in the name before the number, with case folded.
   */
  series: string;
  /**
   * Index of the image in the batch, from 1.
   */
  image: number;
  /**
   * Its new number in the series.
   */
  number: number;
  /**
   * The folder, as written, case not folded.
   */
  folder: string;
  /**
   * The file name as written, without extension.
   */
  file: string;
  /**
   * The public id that it had.
   */
  before: string;
  /**
   * The label of the client.
   */
  by: string;
}
/**
 * Images could not be rendered. Their numbers stay used.
 */
export interface ImageFailedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * Indexes of the images in the batch, from 1.
   */
  images: number[];
  /**
   * The prompts that they belong to.
   */
  prompts: number[];
  /**
   * The code of the refusal or of the last failure; `poison` if ComfyUI stopped too often while it ran the prompt, or if the daemon died too often while it checked a file.
   */
  code: string;
  /**
   * Digest of the error text, which is in `texts` of the frame.
   */
  words?: string | null;
}
/**
 * Images are not wanted any more. Their numbers stay used.
 */
export interface ImageCancelledEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * Indexes of the images in the batch, from 1.
   */
  images: number[];
  /**
   * The prompts that they belong to.
   */
  prompts: number[];
  /**
   * The label of the client that caused it; empty if no client did.
   */
  by?: string;
  /**
   * Whether files are dropped: `retry --take` chose them for these images, but no image has received them.
   */
  choice_over?: boolean;
}
/**
 * A person ran `forget` for these images. Their texts and files are erased, and on request their files in the stores. Their numbers and names stay used.
 */
export interface ImageForgottenEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * Indexes of the images in the batch, from 1.
   */
  images: number[];
  /**
   * The prompts that they belong to.
   */
  prompts: number[];
  /**
   * Whether the stores are asked to delete the images.
   */
  stores: boolean;
  /**
   * The label of the client.
   */
  by: string;
}
/**
 * Texts were erased from the ledger. Inputs and error texts go when all images of their prompt are forgotten. Metadata and graph go when the whole batch is forgotten and no other batch uses the graph.
 */
export interface BlobErasedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The digests of the texts.
   */
  digests: string[];
  /**
   * The label of the client.
   */
  by: string;
}
/**
 * A store does not have a forgotten image any more.
 */
export interface ImageDeletedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * Index of the image in the batch, from 1.
   */
  image: number;
  /**
   * The public id in the store.
   */
  name: string;
  /**
   * The store's name in the configuration.
   */
  store: string;
  /**
   * Whether the store still had the image when it was asked to delete it.
   */
  found?: boolean;
}
/**
 * A store kept what it has under the name of a forgotten image.
 */
export interface ImageLeftEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * Index of the image in the batch, from 1.
   */
  image: number;
  /**
   * The public id that the store was asked for.
   */
  name: string;
  /**
   * The store's name in the configuration.
   */
  store: string;
  /**
   * Why: `foreign` (the file is not ours), `identity_changed` (the store's name now means another place), or `plugin_died` (the store's plugin raised an error or gave an invalid answer).
   */
  code: string;
}
/**
 * A store, a backend, a user, the spool or everything is paused. A trouble is logged once when it begins, however many calls fail until it ends.
 */
export interface LanePausedEvent {
  /**
   * The lane: `everything`, `backend/NAME`, `store/NAME`, `user/NAME`, or `spool` while its disk has no room for new prompts. In a fleet, the trouble of a box with a store or its disk has the name of the box: `store/NAME@BOX`, `spool@BOX`.
   */
  lane: string;
  /**
   * Who paused it: a person, or the lane's own trouble.
   */
  cause: "person" | "trouble";
  /**
   * Why: `person`, or the trouble: `not_reached`, `throttled`, `full`, `http_503` and others.
   */
  code: string;
  /**
   * Digest of the error text, which is in `texts` of the frame.
   */
  words?: string | null;
  /**
   * The label of the client that caused it; empty if no client did.
   */
  by?: string;
}
/**
 * A lane works again.
 */
export interface LaneResumedEvent {
  /**
   * The lane, as in `lane_paused`.
   */
  lane: string;
  /**
   * Which pause has ended: that of a person, or that for the lane's own trouble.
   */
  cause: "person" | "trouble";
  /**
   * The label of the client that caused it; empty if no client did.
   */
  by?: string;
}
/**
 * The ledger was restored from a backup. A new epoch begins here, and positions of the earlier one are no longer valid. `series_raised` follows for every known series. What happened after the backup is not in this log.
 */
export interface LedgerRestoredEvent {
  /**
   * The epoch of the backup.
   */
  epoch_before: string;
  /**
   * The epoch that begins here.
   */
  epoch: string;
  /**
   * The last position of the backup.
   */
  position_before: number;
  /**
   * Where numbers given after the backup were looked for: each store, and `old ledger`, with the highest number of any series.
   */
  evidence: Evidence[];
  /**
   * How far every series was raised above all numbers found.
   */
  margin: number;
  /**
   * The label of the client that restored it.
   */
  by: string;
  /**
   * The first number of a series that the backup does not know and that no store holds. It is above 1 if numbers of such a series may have been given after the backup.
   */
  first?: number;
}
/**
 * A client uploaded an input file. Its bytes are checked and on stable storage. The same bytes are the same input; the event comes again for another label, when the daemon had erased them, when a file that was missing is found again at a start, and when they are added again after five minutes or more: then the time that they stay begins anew.
 */
export interface InputAddedEvent {
  /**
   * SHA-256 of the bytes of the input, in hexadecimal.
   */
  sha256: string;
  /**
   * Size of the file in bytes.
   */
  size_bytes: number;
  /**
   * What the bytes are, for example `png`, `jpg`, `mp4` or `flac`.
   */
  extension: string;
  /**
   * Width in pixels.
   */
  width: number;
  /**
   * Height in pixels.
   */
  height: number;
  /**
   * The label of the client.
   */
  by: string;
  /**
   * How far the file was checked: `whole`; `structure` if the parts were checked but the content was not decoded; `length` if only its length could be compared.
   */
  checked?: "length" | "structure" | "whole";
  /**
   * The box whose folder has it; empty without a fleet.
   */
  box?: string;
}
/**
 * The bytes are about to be uploaded to a ComfyUI for the first time. The event is durable before the call, so it is known where a copy may be.
 */
export interface InputSentEvent {
  /**
   * SHA-256 of the bytes of the input, in hexadecimal.
   */
  sha256: string;
  /**
   * Size of the file in bytes.
   */
  size_bytes: number;
  /**
   * What the bytes are, for example `png`, `jpg`, `mp4` or `flac`.
   */
  extension: string;
  /**
   * The ComfyUI, by its name in the configuration.
   */
  backend: string;
  /**
   * The name below ComfyUI's input folder, made from the bytes.
   */
  name: string;
}
/**
 * A person ran `forget` for an input, or for the image or the last batch that it belongs to; or the image was lost, and is made again. Once no label has it, no new batch may use it, and it is erased when no open batch needs it any more.
 */
export interface InputForgottenEvent {
  /**
   * SHA-256 of the bytes of the input, in hexadecimal.
   */
  sha256: string;
  /**
   * The labels that do not have it any more; empty for an image.
   */
  labels: string[];
  /**
   * The label of the client that caused it; empty if no client did.
   */
  by?: string;
}
/**
 * No open batch needs the input, and the daemon removes its bytes; or they are gone. If it was forgotten, its copies at every ComfyUI are removed too; `input_removed` says when that is done.
 */
export interface InputErasedEvent {
  /**
   * SHA-256 of the bytes of the input, in hexadecimal.
   */
  sha256: string;
  /**
   * Why: `forgotten`, `expired` (unused for `keep_days`), `quota` (others needed its room; `quota_bytes`), or `missing` (its file was not there at a start of the daemon).
   */
  reason: "expired" | "forgotten" | "missing" | "quota";
}
/**
 * The bytes of an input are gone from one place; or a person gave the place up: `recover --drop-comfyui`.
 */
export interface InputRemovedEvent {
  /**
   * SHA-256 of the bytes of the input, in hexadecimal.
   */
  sha256: string;
  /**
   * The ComfyUI; empty for the daemon's own folder of inputs.
   */
  backend?: string;
  /**
   * Whether they were there until then; false also if the place was given up.
   */
  found?: boolean;
  /**
   * The name below ComfyUI's input folder; empty for the daemon's own folder.
   */
  name?: string;
  /**
   * Whether a person gave the place up, so that nobody removed them.
   */
  given_up?: boolean;
  /**
   * The label of the client that caused it; empty if no client did.
   */
  by?: string;
}
/**
 * The images that a prompt is made from have their bytes. Each attempt uses just these.
 */
export interface SourcesFixedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The prompt, from 1.
   */
  prompt: number;
  /**
   * All files that the prompt loads, each with its sha256.
   */
  loads: LoadedFile[];
}
/**
 * The attempt is left behind at its ComfyUI, and another one is owed, which any ComfyUI may get. What was left behind is a stray: once its ComfyUI answers, it is removed there, or used if it has finished first.
 */
export interface PromptMovedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The prompt, from 1.
   */
  prompt: number;
  /**
   * The attempt, counted from 1 for each prompt.
   */
  attempt: number;
  /**
   * The ComfyUI that it was left at.
   */
  backend: string;
  /**
   * Why: `away` (this ComfyUI did not work for `move_after_s`), `person` (somebody moved its prompts), `removed` (it is not configured any more), `replaced` (another server has its name) or `overtaken` (an earlier attempt has finished first).
   */
  reason: "away" | "overtaken" | "person" | "removed" | "replaced";
  /**
   * Whether it was running when this ComfyUI went away, which is a strike: from then on the prompt runs alone, and does not move by itself again.
   */
  running?: boolean;
}
/**
 * What became of an attempt that was left behind.
 */
export interface StrayEndedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The prompt, from 1.
   */
  prompt: number;
  /**
   * The attempt, counted from 1 for each prompt.
   */
  attempt: number;
  /**
   * The ComfyUI that it was left at.
   */
  backend: string;
  /**
   * `used` (it finished first, and its files are used), `late` (it finished, and nobody wanted its files any more), `gone` (it is not there any more) or `given_up` (nobody can be asked: its ComfyUI is not used any more, and may still be rendering it).
   */
  outcome: "given_up" | "gone" | "late" | "used";
  /**
   * The files that are used, as in `prompt_finished`; empty if none are.
   */
  files?: OutputFile[];
}
/**
 * A client added a ComfyUI, or gave one that it had added other values. Adding it again with the same values renews its time, and is no event.
 */
export interface BackendAddedEvent {
  /**
   * The name of the ComfyUI.
   */
  name: string;
  /**
   * Its address, without a user.
   */
  url: string;
  /**
   * The label of the client.
   */
  by: string;
  /**
   * Its tags, which workflows and requests may need.
   */
  tags?: string[];
  /**
   * Seconds after which it is removed unless it is added again; 0 for never.
   */
  ttl_s?: number;
  /**
   * Our prompts in its queue; 0 leaves it to the daemon, as in the configuration.
   */
  queue_depth?: number;
}
/**
 * A ComfyUI that a client had added is used no more. Its prompts go to others.
 */
export interface BackendRemovedEvent {
  /**
   * The name of the ComfyUI.
   */
  name: string;
  /**
   * Why: `person`, `expired` (its time ended), `not_allowed` (`[backends] allowed` does not name its address any more), or `configured` (the configuration has its name or its address now).
   */
  reason: "configured" | "expired" | "not_allowed" | "person";
  /**
   * The label of the client that caused it; empty if no client did.
   */
  by?: string;
}
/**
 * A client added a webhook, or gave one that was added another address or other kinds. It delivers the events that follow. Its secret is not in the log.
 */
export interface WebhookAddedEvent {
  /**
   * The name of the webhook.
   */
  name: string;
  /**
   * Its address.
   */
  url: string;
  /**
   * The kinds of events that it delivers.
   */
  kinds: string[];
  /**
   * Counts the addresses that it had. Each has its own secret.
   */
  generation: number;
  /**
   * The label of the client.
   */
  by: string;
}
/**
 * A client removed a webhook that was added at run time. What it had not delivered is not delivered.
 */
export interface WebhookRemovedEvent {
  /**
   * The name of the webhook.
   */
  name: string;
  /**
   * The label of the client.
   */
  by: string;
}
/**
 * A webhook delivers nothing until it is resumed. It then goes on where it was.
 */
export interface WebhookPausedEvent {
  /**
   * The name of the webhook.
   */
  name: string;
  /**
   * Why: `person`, `gone` (its endpoint answered 410), or `dead` (its endpoint took nothing for five days).
   */
  reason: "dead" | "gone" | "person";
  /**
   * The label of the client that caused it; empty if no client did.
   */
  by?: string;
}
/**
 * A webhook delivers again what it owes, and what follows.
 */
export interface WebhookResumedEvent {
  /**
   * The name of the webhook.
   */
  name: string;
  /**
   * The label of the client.
   */
  by: string;
}
/**
 * A client made a batch more or less urgent. Prompts that wait change their place; prompts that are at ComfyUI already stay there.
 */
export interface BatchPrioritizedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * How urgent it is now: 0 high, 1 normal, 2 low.
   */
  priority: number;
  /**
   * The label of the client.
   */
  by: string;
}
/**
 * A person approved, rejected or rated images, or took that back. The event names the images that it changed. If an image is lost and rendered again, its review ends, because the new file is another picture.
 */
export interface ImageReviewedEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * Indexes of the images in the batch, from 1.
   */
  images: number[];
  /**
   * The label of the client.
   */
  by: string;
  /**
   * The verdict; `none` if it was taken back. Missing if the verdicts stayed as they were.
   */
  verdict?: ("approved" | "none" | "rejected") | null;
  /**
   * The rating from 1 to 5; 0 if it was taken back. Missing if the ratings stayed as they were.
   */
  rating?: number | null;
}
/**
 * A box takes part in the fleet: it does the work of its own ComfyUIs. What it says from an earlier term does not count any more.
 */
export interface BoxJoinedEvent {
  /**
   * The name of the box.
   */
  box: string;
  /**
   * How often it has joined, this time included.
   */
  term: number;
  /**
   * Whether the fleet began with its ledger, so that what names no box is its own.
   */
  founder?: boolean;
}
/**
 * A box takes part no more. Its prompts go to others, and the images that only it keeps wait for it.
 */
export interface BoxLeftEvent {
  /**
   * The name of the box.
   */
  box: string;
  /**
   * How often it has joined, this time included.
   */
  term: number;
  /**
   * Why: `lease` (it gave no sign of life for too long), `person`, or `stopped` (its daemon was stopped).
   */
  reason: "lease" | "person" | "stopped";
  /**
   * The label of the client that caused it; empty if no client did.
   */
  by?: string;
}
/**
 * A person does not wait for a box that left: the images that only it keeps are rendered again under their numbers.
 */
export interface BoxGivenUpEvent {
  /**
   * The name of the box.
   */
  box: string;
  /**
   * The label of the client.
   */
  by: string;
}
/**
 * The box that kept the file of an image has left the fleet. Another box has the same bytes now, from a store, and uploads them to the stores that lack them.
 */
export interface ImageTakenOverEvent {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * Index of the image in the batch, from 1.
   */
  image: number;
  /**
   * The box that has the file now.
   */
  box: string;
  /**
   * The box that kept it.
   */
  before: string;
}
export interface ProgressFrame {
  type: "progress";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Progress;
}
/**
 * Steps of a running prompt. They are never logged, and dropped for a slow client.
 */
export interface Progress {
  /**
   * The subscription that this is for.
   */
  subscription: string;
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The running prompt, as its number in the batch, from 1.
   */
  prompt: number;
  /**
   * The images that it renders, as indexes in the batch.
   */
  images: number[];
  /**
   * The id of the node that runs, in the graph.
   */
  node: string;
  /**
   * How many steps are done.
   */
  value: number;
  /**
   * How many steps there are in all.
   */
  max: number;
}
export interface PreviewFrame {
  type: "preview";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Preview;
}
/**
 * A preview of a running prompt. It is never logged, and dropped for a slow client.
 */
export interface Preview {
  /**
   * The subscription that this is for.
   */
  subscription: string;
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The running prompt, as its number in the batch, from 1.
   */
  prompt: number;
  /**
   * The images that it renders, as indexes in the batch.
   */
  images: number[];
  /**
   * The type of the picture: `image/jpeg` or `image/png`.
   */
  mime: string;
  /**
   * The picture, in Base64.
   */
  data: string;
}
export interface SubscriptionEndedFrame {
  type: "subscription_ended";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: SubscriptionEnded;
}
/**
 * The daemon ended a subscription. Subscribe again after the last position that you saw.
 */
export interface SubscriptionEnded {
  /**
   * The subscription that ended.
   */
  subscription: string;
  /**
   * Why it ended: one of the error codes.
   */
  code: ErrorCode;
  /**
   * A sentence for people.
   */
  message: string;
}
export interface HelloResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Welcome;
}
/**
 * The answer to `hello`: the daemon, its ledger, and what this connection may do.
 */
export interface Welcome {
  /**
   * Always `comfyledger`.
   */
  server: string;
  /**
   * The daemon's version.
   */
  version: string;
  /**
   * The version of the protocol.
   */
  protocol: number;
  /**
   * The label of this connection.
   */
  label: string;
  /**
   * The id of the ledger; never changes.
   */
  ledger_id: string;
  /**
   * The epoch of the ledger; a restore changes it.
   */
  epoch: string;
  /**
   * The end of the log.
   */
  position: number;
  /**
   * What the token may do.
   */
  right?: "admin" | "operate" | "read" | "submit" | "submit_configured";
  /**
   * Whether the token sees the batches of all labels; otherwise it sees only those of `label`.
   */
  read_all?: boolean;
}
export interface SubmitBatchResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: BatchAccepted;
}
/**
 * A batch was accepted, with the number and name of each image.
 */
export interface BatchAccepted {
  /**
   * The id of the batch. Ids sort by time. Empty for a dry run.
   */
  batch_id: string;
  /**
   * The epoch that `position` belongs to.
   */
  epoch: string;
  /**
   * The position of the event `batch_requested`: subscribe after it for the next events.
   */
  position: number;
  /**
   * How many images.
   */
  quantity: number;
  /**
   * The numbers, in the order of the images. Of a dry run those that they would get now; empty if the stores must be asked first, or if the label has no batch in the series.
   */
  numbers?: number[];
  /**
   * File names without extension, in the same order.
   */
  names?: string[];
  /**
   * Folder and file name, in the same order.
   */
  public_ids?: string[];
  /**
   * The numbers, names and public ids again, as one entry for each image.
   */
  images?: ImageGiven[];
  /**
   * Whether this repeats an earlier answer: nothing new was made.
   */
  repeated?: boolean;
  /**
   * Whether this was a dry run: nothing was made.
   */
  dry_run?: boolean;
  /**
   * What was found in the workflow: output node, seeds, batch size, inputs.
   */
  found?: string[];
}
/**
 * An image of a batch that was accepted.
 */
export interface ImageGiven {
  /**
   * Its index in the batch, from 1.
   */
  index: number;
  /**
   * Its number in the series.
   */
  number: number;
  /**
   * The file name without extension.
   */
  name: string;
  /**
   * Folder and file name, without extension.
   */
  public_id: string;
  /**
   * What the image is expected to be, as its name says.
   */
  medium?: "audio" | "file" | "image" | "model" | "video";
  /**
   * The output that it comes from, as its number among the outputs of the batch, from 1.
   */
  output?: number;
}
export interface CheckWorkflowResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: WorkflowReport;
}
/**
 * What was found in a workflow, and whether it is accepted. The lists below are about the nodes that are run, except `not_run`. If the outputs of the workflow are not known, the lists are about all nodes.
 */
export interface WorkflowReport {
  /**
   * Whether the workflow can be used.
   */
  verdict: "accepted" | "refused";
  /**
   * Why the workflow is refused: one of the error codes. Empty if it is accepted.
   */
  code?: string;
  /**
   * The same as a sentence.
   */
  message?: string;
  /**
   * What to do.
   */
  hint?: string;
  /**
   * The node or the input at fault.
   */
  path?: string;
  /**
   * The medium of the first output; `null` if there is none.
   */
  medium?: ("audio" | "file" | "image" | "model" | "video") | null;
  /**
   * Every output, in the order of its images. Includes a node that the daemon adds.
   */
  outputs?: OutputFound[];
  /**
   * The inputs that get the seed, by address.
   */
  seeds?: string[];
  /**
   * The input that gets the batch size, by address; empty if none is filled in.
   */
  batch_size?: string;
  /**
   * Other nodes that save or show something, and are not run.
   */
  not_run?: string[];
  /**
   * Node classes that ComfyUI does not have. Also empty if the daemon does not know which classes ComfyUI has.
   */
  unknown_classes?: string[];
  /**
   * Suggested names of inputs, each with its address, as in `[workflows.NAME.inputs]`.
   */
  inputs?: {
    [k: string]: string;
  };
  /**
   * Files that must exist in ComfyUI's input folder.
   */
  files?: string[];
  /**
   * Models that ComfyUI must have.
   */
  models?: string[];
  /**
   * What ComfyUI would not take, at most 100; only with `strict`.
   */
  mistakes?: MistakeInfo[];
  /**
   * For people: what is filled in where, and what is not.
   */
  found?: string[];
  /**
   * What the verdict is about. `structure`: form, outputs, seeds and batch size. `classes`: also whether ComfyUI has the node classes. `full`: everything that a submission checks.
   */
  checked?: "classes" | "full" | "structure";
  /**
   * The graph in ComfyUI's API format, if the request says `convert`. Secrets stay in it.
   */
  graph?: {
    [k: string]: unknown;
  } | null;
}
/**
 * A node of a workflow whose files become images.
 */
export interface OutputFound {
  /**
   * The id of the node.
   */
  node: string;
  /**
   * The class of the node.
   */
  class_type: string;
  /**
   * What its files are expected to be.
   */
  medium: "audio" | "file" | "image" | "model" | "video";
}
export interface DescribeWorkflowResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: WorkflowInputs;
}
/**
 * What a form for a configured workflow needs. Secrets, and what the daemon itself fills in, are not among the inputs.
 */
export interface WorkflowInputs {
  /**
   * Its name.
   */
  workflow: string;
  /**
   * What the files of the first output are expected to be.
   */
  medium: "audio" | "file" | "image" | "model" | "video";
  /**
   * In the order of the configuration.
   */
  inputs: WorkflowInput[];
  /**
   * Whether the configuration names no inputs, so that these are suggestions of the daemon, with their addresses as names.
   */
  suggested?: boolean;
  /**
   * Every output, in the order of its images. Each shot has one from each.
   */
  outputs?: OutputFound[];
  /**
   * The ComfyUIs whose ranges and lists these are: those that can run the workflow, or if none can, all that may. Empty if none of them was ever seen.
   */
  backends?: string[];
  /**
   * Whether the daemon fills in a seed.
   */
  has_seed?: boolean;
  /**
   * The smallest seed.
   */
  seed_min?: number;
  /**
   * The largest seed.
   */
  seed_max?: number;
  /**
   * How many images one run can make, if the daemon fills in a batch size; else 1.
   */
  images_per_prompt_max?: number;
}
/**
 * An input of a configured workflow, as a form shows it.
 */
export interface WorkflowInput {
  /**
   * What a request calls it in `inputs`: the name that the configuration gives it, or its address if the configuration names no inputs.
   */
  name: string;
  /**
   * What people call it.
   */
  label: string;
  /**
   * The id of the node.
   */
  node: string;
  /**
   * The name that the node gives it.
   */
  input: string;
  /**
   * What a request may give: a text, a whole number, a number, `true` or `false`, one of `choices`, or a file (`FileAsked`). In place of a file a text is taken, too: the name of a file in ComfyUI's input folder.
   */
  kind: "bool" | "choice" | "file" | "float" | "int" | "text";
  /**
   * What the workflow has if a request omits it; `null` if it has nothing there.
   */
  default?: string | number | boolean | InputNamed | null;
  /**
   * The smallest number that all these ComfyUIs take; `null` if there is no limit.
   */
  min?: number | null;
  /**
   * The largest number that all these ComfyUIs take; `null` if there is no limit.
   */
  max?: number | null;
  /**
   * By how much ComfyUI's own page changes it; `null` if it says nothing.
   */
  step?: number | null;
  /**
   * The values of a `choice` that all these ComfyUIs take, in the order of the first one; at most 2,000.
   */
  choices?: (string | number | boolean)[];
  /**
   * How many more choices there are.
   */
  choices_left_out?: number;
  /**
   * Whether a text may have several lines.
   */
  multiline?: boolean;
  /**
   * What ComfyUI says about it, at most 500 characters; empty if it says nothing.
   */
  tooltip?: string;
  /**
   * Whether a request must give it, because the workflow has nothing there, or only what none of these ComfyUIs takes.
   */
  required?: boolean;
  /**
   * Which files a `file` takes; `null` if files of several kinds.
   */
  medium?: ("audio" | "file" | "image" | "model" | "video") | null;
  /**
   * Whether a ComfyUI has described it. If not, `kind` follows from the value in the workflow alone, or from the names of node class and input, and there are no limits and choices.
   */
  known?: boolean;
}
/**
 * An input file, in place of a value.
 */
export interface InputNamed {
  /**
   * Its bytes, by `sha256:` and their SHA-256.
   */
  input: string;
}
export interface OpenSeriesResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: SeriesInfo;
}
/**
 * A series and its next number.
 */
export interface SeriesInfo {
  /**
   * The series: everything in the name before the number, with case folded.
   */
  series: string;
  /**
   * The number that will be given next.
   */
  next: number;
}
export interface GetBatchResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: BatchInfo;
}
/**
 * A batch, and how many of its images are in which state.
 */
export interface BatchInfo {
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * The state of the batch: `open`, `held`, `settled` or `cancelled`.
   */
  status: string;
  /**
   * Why the batch is held: `person`, `removed`, `interrupted`, `failing` or `unfit`; empty if it is not held.
   */
  held: string;
  /**
   * The user, as the client wrote it.
   */
  username: string;
  /**
   * The character, as the client wrote it.
   */
  character: string;
  /**
   * Whether the character existed already, as in the request.
   */
  premade: boolean;
  /**
   * The configured name of the workflow; empty if the request carried a graph.
   */
  workflow: string;
  /**
   * As in the request: `high`, `normal` or `low`.
   */
  priority: string;
  /**
   * The label of the client that requested the batch.
   */
  label: string;
  /**
   * The request id of the batch.
   */
  request_id: string;
  /**
   * When the batch was requested, in milliseconds since 1970, UTC.
   */
  requested_at_ms: number;
  /**
   * The position of `batch_requested`.
   */
  position: number;
  /**
   * How many images it has.
   */
  quantity: number;
  /**
   * Images that are not rendered yet.
   */
  pending: number;
  /**
   * Images that are rendered and in the spool, but not yet in every store.
   */
  kept: number;
  /**
   * Images in every store.
   */
  stored: number;
  /**
   * Images in the spool that a store refused, or that wait for a person.
   */
  parked: number;
  /**
   * Images that could not be rendered.
   */
  failed: number;
  /**
   * Images that were given up.
   */
  cancelled: number;
  /**
   * Images that are forgotten, or being forgotten.
   */
  forgotten?: number;
  /**
   * The client's tags, as in the request.
   */
  tags?: string[];
  /**
   * The client's metadata, as in the request.
   */
  metadata?: {
    [k: string]: unknown;
  };
  /**
   * Its images; only from `get_batch`.
   */
  images?: ImageInfo[];
  /**
   * Its outputs, in order. Omitted if there is one output and its medium is `image`.
   */
  outputs?: OutputInfo[];
  /**
   * If `held` is `unfit`: why ComfyUI would refuse the workflow.
   */
  held_text?: string;
  /**
   * The image whose recipe the batch was made from, `<batch_id>/<index>`; empty if there is none.
   */
  like?: string;
  /**
   * Of the pending images, those that wait for images that they are made from; only from `get_batch`.
   */
  waiting?: number;
}
/**
 * An image: its name, its state and its file.
 */
export interface ImageInfo {
  /**
   * The image: `<batch_id>/<index>`.
   */
  image_id: string;
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * Its index in the batch, from 1.
   */
  index: number;
  /**
   * Its number in the series.
   */
  number: number;
  /**
   * The file name without extension.
   */
  name: string;
  /**
   * Folder and file name, without extension.
   */
  public_id: string;
  /**
   * The state of the image: `pending`, `kept`, `stored`, `parked`, `failed`, `cancelled`, `forgetting` (a store has yet to delete it) or `forgotten`.
   */
  state: string;
  /**
   * The prompt that renders it, as its number in the batch, from 1.
   */
  prompt: number;
  /**
   * SHA-256 of the bytes that all stores get, in hexadecimal; empty until the image is kept.
   */
  sha256?: string;
  /**
   * MD5 of the same bytes, in hexadecimal.
   */
  md5?: string;
  /**
   * Size of the file in bytes.
   */
  size_bytes?: number;
  /**
   * Width in pixels.
   */
  width?: number;
  /**
   * Height in pixels.
   */
  height?: number;
  /**
   * What the bytes are, for example `png`, `jpg`, `mp4` or `flac`.
   */
  extension?: string;
  /**
   * Why the image failed, was parked or was cancelled.
   */
  code?: string;
  /**
   * The error text from ComfyUI or the store, if it is still kept.
   */
  text?: string;
  /**
   * One entry for each store of the batch.
   */
  uploads?: UploadInfo[];
  /**
   * A signed address of the file, for browsers: it needs no token and expires. Empty if there is no file, or if the daemon listens at no port.
   */
  file_url?: string;
  /**
   * What the image is expected to be, as its name says. `extension` says what the file is.
   */
  medium?: "audio" | "file" | "image" | "model" | "video";
  /**
   * The output that it comes from, as its number among the outputs of the batch, from 1.
   */
  output?: number;
  /**
   * The configured name of its workflow; empty for a graph of the request. This field and the two fields below are only in the answers to `get_image` and `explain`; `get_recipe` has more.
   */
  workflow?: string;
  /**
   * The seed of the run that makes it.
   */
  seed?: number | null;
  /**
   * The images that the same run makes, as indexes in the batch.
   */
  run?: number[];
  /**
   * The images that it is made from, `<batch_id>/<index>`, until all of them have their bytes. Only in the answers to `get_batch`, `get_image` and `explain`.
   */
  waits_for?: string[];
  /**
   * An address of a small picture, at most 256 pixels wide and high, for browsers: signed as `file_url` is, or that of a store that scales. Empty if there is no file, or no thumbnail of files of its kind.
   */
  thumbnail_url?: string;
  /**
   * As `thumbnail_url`, at most 1024 pixels wide and high.
   */
  thumbnail_large_url?: string;
  /**
   * What a person thinks of it; empty if nobody said.
   */
  verdict?: ("approved" | "rejected") | "";
  /**
   * From 1 to 5; 0 if nobody rated it.
   */
  rating?: number;
}
/**
 * What became of an image at one store.
 */
export interface UploadInfo {
  /**
   * Its name in the configuration.
   */
  store: string;
  /**
   * The state of the upload: `owed`, `uploading`, `stored`, `parked` or `dropped` (given up); of a forgotten image also `deleting`, `deleted` or `foreign` (not ours, so it stays).
   */
  state: string;
  /**
   * How many uploads were begun so far.
   */
  attempts?: number;
  /**
   * The address of the file in the store.
   */
  url?: string;
  /**
   * Why the upload was parked.
   */
  code?: string;
  /**
   * The error text from the store.
   */
  text?: string;
}
/**
 * An output of a batch: a node of the graph whose files become images.
 */
export interface OutputInfo {
  /**
   * The id of the node in the graph.
   */
  node: string;
  /**
   * What its files are expected to be.
   */
  medium: "audio" | "file" | "image" | "model" | "video";
  /**
   * The series: everything in the name before the number, with case folded.
   */
  series: string;
}
export interface ListBatchesResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Batches;
}
/**
 * A page of batches.
 */
export interface Batches {
  /**
   * Newest first, without their images.
   */
  batches: BatchInfo[];
  /**
   * Whether another page follows.
   */
  more: boolean;
  /**
   * Asks for the next page: `before` on the websocket, `cursor` in HTTP. Empty at the end.
   */
  next_cursor?: string;
}
export interface GetImageResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: ImageInfo;
}
export interface GetRecipeResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Recipe;
}
/**
 * What made an image. If the image has no file yet: what will make it. A time that has not come yet is 0.
 */
export interface Recipe {
  /**
   * The image: `<batch_id>/<index>`.
   */
  image_id: string;
  /**
   * The batch.
   */
  batch_id: string;
  /**
   * Its index in the batch, from 1.
   */
  index: number;
  /**
   * Its number in the series.
   */
  number: number;
  /**
   * Folder and file name, without extension.
   */
  public_id: string;
  /**
   * The state of the image, as in `get_image`.
   */
  state: string;
  /**
   * The user, as the client wrote it.
   */
  username: string;
  /**
   * The character, as the client wrote it.
   */
  character: string;
  /**
   * The configured name of the workflow; empty for a graph of the request.
   */
  workflow: string;
  /**
   * The inputs that the request filled in, by their names in the workflow. An input without a name is shown by its address. `null` if the inputs were forgotten.
   */
  inputs: {
    [k: string]: unknown;
  } | null;
  /**
   * The named inputs that the request did not fill in, with the values in the workflow.
   */
  defaults: {
    [k: string]: unknown;
  };
  /**
   * The seed of the run.
   */
  seed: number;
  /**
   * The inputs that got the seed, by address.
   */
  seeds: string[];
  /**
   * How many images the run was to make from each output.
   */
  batch_size: number;
  /**
   * The inputs that got `batch_size`, by address; empty if the workflow makes that many images by itself.
   */
  batch_sizes: string[];
  /**
   * The output nodes of the workflow.
   */
  outputs: RecipeOutput[];
  /**
   * The images of the prompt, in the order of ComfyUI's files; this image is among them.
   */
  images: ImageGiven[];
  /**
   * The ComfyUI that renders it.
   */
  backend: string;
  /**
   * The prompt that renders it, as its number in the batch, from 1.
   */
  prompt: number;
  /**
   * The attempt that made the file; if there is no file yet, the last attempt; 0 if nothing was sent to ComfyUI.
   */
  attempt?: number;
  /**
   * ComfyUI's id of the run.
   */
  prompt_id?: string;
  /**
   * The version of ComfyUI at the time of the run; empty if it is not known.
   */
  version?: string;
  /**
   * Nodes that were not sent, because no output needs them and ComfyUI lacked their class; `null` if that was not recorded.
   */
  left_out?: string[] | null;
  /**
   * When the batch was accepted, in milliseconds since 1970, UTC.
   */
  requested_at_ms?: number;
  /**
   * When the attempt was about to be sent, in milliseconds since 1970, UTC.
   */
  submitted_at_ms?: number;
  /**
   * When the daemon knew that the files of the attempt were written, in milliseconds since 1970, UTC.
   */
  finished_at_ms?: number;
  /**
   * When the file was in the spool, in milliseconds since 1970, UTC.
   */
  kept_at_ms?: number;
  /**
   * For each store that has the file: when it got the file, in milliseconds since 1970, UTC.
   */
  stored_at_ms?: {
    [k: string]: number;
  };
  /**
   * SHA-256 of the bytes that all stores get, in hexadecimal; empty until the image is kept.
   */
  sha256?: string;
  /**
   * The files that the graph loads, by address. Empty if they were forgotten.
   */
  files?: RecipeFile[];
  /**
   * The inputs that the configuration fills in with secrets, by address. `graph` has `***` there.
   */
  masked?: string[];
  /**
   * What is not known, and why.
   */
  missing?: RecipeGap[];
  /**
   * The graph that was sent, in ComfyUI's API format, if the request says `graph`. Secrets are masked.
   */
  graph?: {
    [k: string]: unknown;
  } | null;
}
/**
 * An output node of the workflow.
 */
export interface RecipeOutput {
  /**
   * The id of the node in the graph.
   */
  node: string;
  /**
   * What its files are expected to be.
   */
  medium: "audio" | "file" | "image" | "model" | "video";
  /**
   * The input that gets the prefix, by address.
   */
  address: string;
  /**
   * What the names of its files began with, below ComfyUI's output folder; empty if nothing was sent.
   */
  prefix?: string;
  /**
   * Whether the attempt asked ComfyUI for this output. A later attempt asks only for outputs whose images still wait.
   */
  is_run?: boolean;
}
/**
 * A file that the graph loads: an input file, or an earlier image.
 */
export interface RecipeFile {
  /**
   * The input that gets it, by its name in the workflow, else by address.
   */
  input: string;
  /**
   * The same input by address.
   */
  address: string;
  /**
   * The image that it is, `<batch_id>/<index>`; empty for an input file.
   */
  image?: string;
  /**
   * SHA-256 of its bytes, in hexadecimal; empty for an image that was not used yet.
   */
  sha256?: string;
  /**
   * What the bytes are; empty if not known yet.
   */
  extension?: string;
  /**
   * How many bytes they are; 0 if not known yet.
   */
  size_bytes?: number;
  /**
   * Its name below ComfyUI's input folder, as in `graph`; empty while its bytes are not known.
   */
  file?: string;
}
/**
 * A part of a recipe that is not known.
 */
export interface RecipeGap {
  /**
   * The field that is missing; `attempt` stands for everything about the run.
   */
  what: "attempt" | "files" | "graph" | "inputs" | "left_out" | "version";
  /**
   * Why it is not known: it was erased on request (`forgotten`), nothing was sent to ComfyUI (`not_sent`), or it was never recorded (`not_recorded`). An input file whose bytes are not kept any more is `erased`.
   */
  code: "erased" | "forgotten" | "not_recorded" | "not_sent";
  /**
   * The same as a sentence.
   */
  text: string;
}
export interface ListImagesResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Images;
}
/**
 * A page of images.
 */
export interface Images {
  /**
   * Newest batch first, and by index within a batch.
   */
  images: ImageInfo[];
  /**
   * Whether another page follows.
   */
  more: boolean;
  /**
   * Asks for the next page: `before` on the websocket, `cursor` in HTTP. Empty at the end.
   */
  next_cursor?: string;
}
export interface CountImagesResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: ImageCounts;
}
/**
 * How many images fit.
 */
export interface ImageCounts {
  /**
   * How many images.
   */
  count: number;
  /**
   * With `by`: the groups that have images, largest first, at most 1000.
   */
  groups?: ImageGroup[];
  /**
   * Whether there are more groups.
   */
  more_groups?: boolean;
  /**
   * With `cursors_every`: for each page, after which image it begins, `<batch_id>/<index>`. Give it as `before` (in HTTP: `cursor`) to `list_images` with the same filters. That of the first page is an empty text: leave `before` out.
   */
  cursors?: string[];
  /**
   * How many images lie between two cursors: as in the request, or a multiple of it, because an answer has at most 10000 cursors. 0 without cursors.
   */
  cursors_every?: number;
}
/**
 * Images that are alike in what `by` names.
 */
export interface ImageGroup {
  /**
   * What they have in common. Of a user and a character: the name as the newest batch writes it. Images without a code or of a graph of the request have an empty text, those without a verdict `none`.
   */
  value: string;
  /**
   * How many images.
   */
  count: number;
}
export interface ListCharactersResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Characters;
}
/**
 * A page of characters.
 */
export interface Characters {
  /**
   * Sorted by name, as it is written in names of files.
   */
  characters: CharacterInfo[];
  /**
   * Whether another page follows.
   */
  more: boolean;
  /**
   * Asks for the next page: `before` on the websocket, `cursor` in HTTP. Empty at the end.
   */
  next_cursor?: string;
}
/**
 * A character of the configuration, and what each ComfyUI lacks for it.
 */
export interface CharacterInfo {
  /**
   * Its name in the configuration.
   */
  name: string;
  /**
   * How people call it.
   */
  display_name: string;
  /**
   * The defaults for a request with `premade` false: the user's own character.
   */
  own: CharacterDefaultsInfo;
  /**
   * The defaults for a request with `premade` true: a character that exists already.
   */
  premade: CharacterDefaultsInfo;
  /**
   * The file that it comes from; empty if the configuration itself has it.
   */
  file?: string;
  /**
   * What each backend lacks for the character, by the name of the backend: node classes, models, files, choices, and the embeddings that the character's texts name; at most 20 sentences for each backend. A backend that lacks nothing is omitted.
   */
  missing?: {
    [k: string]: string[];
  };
  /**
   * Backends of which the daemon does not know all node classes, models or embeddings; for these `missing` may lack something.
   */
  unchecked?: string[];
}
/**
 * The values that a request for a character gets where the request itself gives none.
 */
export interface CharacterDefaultsInfo {
  /**
   * The configured workflow.
   */
  workflow: string;
  /**
   * Values and files of inputs, by name or address.
   */
  inputs?: {
    [k: string]: string | number | boolean | InputNamed | null;
  };
  /**
   * The template around the input `prompt`; empty if there is none.
   */
  prompt?: string;
}
export interface AddInputResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: InputInfo;
}
/**
 * An input file.
 */
export interface InputInfo {
  /**
   * Its name: `sha256:` and its digest. Requests use it as `{"input": NAME}`.
   */
  input: string;
  /**
   * How many bytes it has.
   */
  size_bytes: number;
  /**
   * What its bytes are, as an extension.
   */
  extension: string;
  /**
   * What kind of file it is.
   */
  medium: "audio" | "file" | "image" | "model" | "video";
  /**
   * Its width in pixels; 0 if unknown.
   */
  width?: number;
  /**
   * Its height in pixels; 0 if unknown.
   */
  height?: number;
  /**
   * Of an answer to an upload: whether this client did not have the file before.
   */
  new?: boolean;
  /**
   * The clients that have it, as far as the token sees them. An answer to an upload names none.
   */
  labels?: string[];
  /**
   * When it was added last, in milliseconds since 1970, UTC; 0 in an answer to an upload.
   */
  added_at_ms?: number;
}
export interface ListInputsResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Inputs;
}
/**
 * A page of input files.
 */
export interface Inputs {
  /**
   * Newest first.
   */
  inputs: InputInfo[];
  /**
   * Whether another page follows.
   */
  more: boolean;
  /**
   * Asks for the next page: `before` on the websocket, `cursor` in HTTP. Empty at the end.
   */
  next_cursor?: string;
}
export interface ForgetInputResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: InputInfo;
}
export interface AddBackendResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: AddedBackend;
}
/**
 * A ComfyUI that a client added, as the daemon uses it.
 */
export interface AddedBackend {
  /**
   * Its name.
   */
  name: string;
  /**
   * Its address, in one spelling.
   */
  url: string;
  /**
   * Its tags.
   */
  tags: string[];
  /**
   * Seconds after which it is removed unless it is added again; 0 for never.
   */
  ttl_s: number;
  /**
   * Our prompts in its queue; 0 leaves it to the daemon.
   */
  queue_depth: number;
  /**
   * Whether it is new or has other values than before.
   */
  changed: boolean;
}
export interface RemoveBackendResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: RemovedBackend;
}
/**
 * A ComfyUI that is used no more.
 */
export interface RemovedBackend {
  /**
   * Its name.
   */
  name: string;
  /**
   * How many prompts it had. Others get what they may take, the rest waits. `null` for a token that sees only its own work.
   */
  prompts: number | null;
}
export interface GiveUpBoxResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: GivenUpBox;
}
/**
 * A box that nobody waits for any more.
 */
export interface GivenUpBox {
  /**
   * The name of the box.
   */
  name: string;
  /**
   * Whether it was waited for until now.
   */
  changed: boolean;
}
export interface CancelResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: ChangedCount;
}
/**
 * How many images a command changed.
 */
export interface ChangedCount {
  /**
   * How many images were changed. For `retry`, with those of the same label that failed because these did. For `pause` and `resume` of a batch: how many are pending. For any other scope: 0.
   */
  images: number;
  /**
   * How many images were left unchanged, by state.
   */
  left?: {
    [k: string]: number;
  };
  /**
   * For `resume`: the lane does not work, and is tried now instead of later. It goes on if it works.
   */
  tried?: boolean;
}
export interface RetryResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: ChangedCount;
}
export interface SetPriorityResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: ChangedCount;
}
export interface RecoverResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Recovered;
}
/**
 * How many images and batches were recovered or given up, or would be.
 */
export interface Recovered {
  /**
   * How many batches were changed, on this page.
   */
  batches: number;
  /**
   * How many images of these batches were changed.
   */
  images: number;
  /**
   * Whether this was a dry run: nothing was changed.
   */
  dry_run?: boolean;
  /**
   * What was done or would be done, and what is only reported.
   */
  steps?: RecoveryStep[];
  /**
   * How many images this page checked, in any state.
   */
  looked_at?: number;
  /**
   * For the next page; empty at the end.
   */
  cursor?: string;
  /**
   * How many copies of input files were given up with `drop_comfyui`.
   */
  inputs?: number;
}
/**
 * What is done with some images of a page.
 */
export interface RecoveryStep {
  /**
   * What is done: `upload` (the store refused it: tried again), `render` (rendered again), `missing` (the store lost it: uploaded again), `fill` (the store never had it: uploaded now), `renumber` (a new number). Only reported: `different` (the store holds other bytes) and `elsewhere` (the store is not configured, or is another place now).
   */
  kind: string;
  /**
   * How many images.
   */
  images: number;
  /**
   * The store; empty for `render`.
   */
  store?: string;
  /**
   * Why the images were parked or failed.
   */
  code?: string;
  /**
   * The first few public ids, at most 5.
   */
  examples?: string[];
}
export interface ForgetResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Forgotten;
}
/**
 * What was forgotten, or would be.
 */
export interface Forgotten {
  /**
   * In how many batches something was forgotten.
   */
  batches: number;
  /**
   * How many images of these batches were forgotten.
   */
  images: number;
  /**
   * How many texts were erased from the ledger; not counted in a dry run.
   */
  texts?: number;
  /**
   * How many files the stores are asked to delete.
   */
  deletions?: number;
  /**
   * How many images each store keeps, because it was not asked to delete them.
   */
  left?: {
    [k: string]: number;
  };
  /**
   * For the next page of a user; empty at the end.
   */
  before?: string;
  /**
   * Whether this was a dry run: nothing was changed.
   */
  dry_run?: boolean;
  /**
   * How many input files were forgotten too, because nothing else was made from them, and copies of these images that ComfyUI loads; not counted in a dry run.
   */
  inputs?: number;
}
export interface ReviewResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Reviewed;
}
/**
 * Images after a review.
 */
export interface Reviewed {
  /**
   * How many images have another verdict or rating than before.
   */
  changed: number;
  /**
   * The images as they are now: in the order of the request, each once.
   */
  images: ImageInfo[];
  /**
   * With `forget`: what was forgotten by this request.
   */
  forgotten?: Forgotten | null;
}
export interface PauseResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: ChangedCount;
}
export interface MoveResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Moved;
}
/**
 * What left a ComfyUI, and what stays there.
 */
export interface Moved {
  /**
   * How many prompts others get now.
   */
  moved: number;
  /**
   * How many prompts stay, by reason: `pinned` (the request names this ComfyUI), `suspect` (it was running when a ComfyUI went away), `nowhere` (no other ComfyUI that works may take it), `choice` (a person chose among its files, which are still to be fetched), `fetching` (it has finished, and its files are being fetched) and `cancelling`.
   */
  stays?: {
    [k: string]: number;
  };
  /**
   * What to do about those that stay, and how the ComfyUI gets work again.
   */
  hint?: string;
}
export interface ResumeResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: ChangedCount;
}
export interface SubscribeResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Subscribed;
}
/**
 * A subscription began.
 */
export interface Subscribed {
  /**
   * The id of the subscription on this connection.
   */
  subscription: string;
  /**
   * The epoch of the ledger; a restore changes it.
   */
  epoch: string;
  /**
   * Where the subscription begins: all events after this position follow.
   */
  position: number;
}
export interface UnsubscribeResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Unsubscribed;
}
/**
 * A subscription ended.
 */
export interface Unsubscribed {
  /**
   * The subscription that ended.
   */
  subscription: string;
}
export interface ReadLogResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: LogPage;
}
/**
 * A page of past events.
 */
export interface LogPage {
  /**
   * The epoch of the ledger; a restore changes it.
   */
  epoch: string;
  /**
   * The events that match.
   */
  events: PastEvent[];
  /**
   * The position of the last event that was checked, matching or not.
   */
  position: number;
  /**
   * Whether there are events beyond this position.
   */
  more: boolean;
}
/**
 * Where an event is in the log, and for whom.
 */
export interface PastEventPlace {
  /**
   * The event's place in the log.
   */
  position: number;
  /**
   * When the event was written, in milliseconds since 1970, UTC.
   */
  at_ms: number;
  /**
   * The batch id, `series/…`, `lane/…` or `ledger`.
   */
  stream: string;
  /**
   * The text whose digest is `words` in `data`, if it is still kept.
   */
  texts?: {
    [k: string]: string;
  };
}
export interface ExplainResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Explanation;
}
/**
 * The whole history of an image, a batch or a number.
 */
export interface Explanation {
  /**
   * What `what` is: an `image`, a `batch`, a skipped number (`gap`), or a number that was not given so far (`never`).
   */
  subject: "batch" | "gap" | "image" | "never";
  /**
   * The epoch of the ledger; a restore changes it.
   */
  epoch: string;
  /**
   * What happened, oldest first.
   */
  events: PastEvent[];
  /**
   * What is still to be done and why it waits; empty if nothing is.
   */
  owed: OwedInfo[];
  /**
   * The batch, without its images.
   */
  batch?: BatchInfo | null;
  /**
   * The image, if there is one.
   */
  image?: ImageInfo | null;
  /**
   * The series: everything in the name before the number, with case folded.
   */
  series?: string;
  /**
   * The number in the series, if there is one.
   */
  number?: number;
  /**
   * The number that the series will give next.
   */
  next?: number;
  /**
   * Why a number was skipped: `held` (a store held higher ones when the series was opened), `raised` (an import or a restore raised the series above it), or `unknown` (no event that the token sees explains it).
   */
  code?: string;
  /**
   * For a large batch: how many events of each frequent kind are not among `events`.
   */
  left_out?: {
    [k: string]: number;
  };
  /**
   * The batches that were made like the image, or like any image of the batch (`like` of `submit_batch`), oldest first.
   */
  made_like?: string[];
  /**
   * Whether there are more such batches: at most 100 are named.
   */
  made_like_more?: boolean;
  /**
   * The files that the image, or any image of the batch, is made from: input files and earlier images, each once for each input of the workflow; `file` is empty.
   */
  loads?: RecipeFile[];
  /**
   * Whether there are more such files: at most 100 are named.
   */
  loads_more?: boolean;
  /**
   * The batches that load the image, or any image of the batch, as a source, oldest first.
   */
  loaded_by?: string[];
  /**
   * Whether there are more such batches: at most 100 are named.
   */
  loaded_by_more?: boolean;
}
/**
 * Something that is still to be done, and why it is not done yet.
 */
export interface OwedInfo {
  /**
   * What is to be done: `number`, `render`, `fetch`, `upload`, `delete`, `deliver` (an event to a webhook), or `decide` (a person must decide).
   */
  what: string;
  /**
   * Why it waits: `held`, `paused`, `turn` (others go first), `alone` (a prompt with a strike runs alone), `source` (an image that it is made from has no bytes yet), `submitting`, `at_comfyui`, `under_way`, `asking` (the stores are asked for numbers), `unfit` (not every ComfyUI takes it), `no_backend` (no ComfyUI is configured that may render it), `stray` (an earlier attempt was left behind), `box_away` (only a box has a file that has left the fleet), the state of a webhook that delivers nothing, the code of the trouble of a lane or a webhook, or the code of a failure.
   */
  code: string;
  /**
   * A sentence for people.
   */
  text: string;
  /**
   * The command that helps; empty if it continues by itself.
   */
  command?: string;
  /**
   * The lane that it waits for, if any.
   */
  lane?: string;
  /**
   * Since when the lane is paused or the webhook fails, in milliseconds since 1970, UTC.
   */
  since_ms?: number;
  /**
   * Indexes of its images in the batch.
   */
  images?: number[];
}
export interface ServerInfoResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Info;
}
/**
 * The state of the daemon: its ledger, what is open, what waits and why.
 */
export interface Info {
  /**
   * The daemon's version.
   */
  version: string;
  /**
   * The version of the protocol.
   */
  protocol: number;
  /**
   * The id of the ledger; never changes.
   */
  ledger_id: string;
  /**
   * The epoch of the ledger; a restore changes it.
   */
  epoch: string;
  /**
   * The end of the log.
   */
  position: number;
  /**
   * Whether new batches are refused, because a disk is nearly full or parked images take more than `parked_max_bytes`.
   */
  storage_full: boolean;
  /**
   * Seconds since the daemon started.
   */
  uptime_s: number;
  /**
   * The number of open `batches`, `prompts` and `uploads`, of prompts among them that wait for images that they are made from (`waiting`), and of calls that run now (`running`).
   */
  open: {
    [k: string]: number;
  };
  /**
   * Paused lanes: by a person or for trouble.
   */
  lanes: LaneInfo[];
  /**
   * Series whose first batch waits for a store.
   */
  waiting: WaitingInfo[];
  /**
   * The ComfyUIs of the configuration and those that were added; in a fleet those of all boxes.
   */
  backends: BackendInfo[];
  /**
   * The stores of the configuration.
   */
  stores: StoreInfo[];
  /**
   * The names that `workflow` may have.
   */
  workflows: string[];
  /**
   * What is full, and how much space is free and needed; empty while there is room.
   */
  storage_text?: string;
  /**
   * Which other program holds a lock of the ledger, so that nothing can be written; empty if none does.
   */
  locked_text?: string;
  /**
   * How many characters have defaults; `list_characters` lists them.
   */
  characters?: number;
  /**
   * Files of characters that cannot be used, each with its mistakes. If the configuration could not be read again at the last SIGHUP, the first entry says why.
   */
  character_problems?: string[];
  /**
   * The input files; `null` for a token that sees one label only.
   */
  inputs?: InputsHeld | null;
  /**
   * The work that waits for ComfyUIs, by what it needs of them. An entry stays when nothing waits any more. `null` for a token that sees one label only.
   */
  demand?: DemandInfo[] | null;
  /**
   * The webhooks, by name, with the scheme and host of their addresses only. `null` for a token that sees one label only.
   */
  webhooks?: WebhookInfo[] | null;
  /**
   * The boxes of the fleet, by name; empty if the daemon is not part of one.
   */
  boxes?: BoxInfo[];
  /**
   * How much is free where ledger, spool, inputs and stores keep their files; ledger and spool were read at most a second ago, the others some seconds. `null` for a token that sees one label only.
   */
  disks?: DiskInfo[] | null;
}
/**
 * A lane that is paused, by a person or for trouble.
 */
export interface LaneInfo {
  /**
   * The lane: `everything`, `backend/NAME`, `store/NAME`, `user/NAME`, `spool` while its disk has no room for new prompts, or `inputs` while its disk does not delete files. In a fleet, the trouble of a box with a store or its disks has the name of the box: `store/NAME@BOX`.
   */
  lane: string;
  /**
   * Whether a person paused it.
   */
  paused: boolean;
  /**
   * The lane's own trouble; empty if it has none.
   */
  code?: string;
  /**
   * The error text about the trouble.
   */
  text?: string;
  /**
   * Since when it is paused, in milliseconds since 1970, UTC.
   */
  since_ms?: number;
}
/**
 * A series whose first batch waits for a store.
 */
export interface WaitingInfo {
  /**
   * The series: everything in the name before the number, with case folded.
   */
  series: string;
  /**
   * Which store has not answered, and why.
   */
  reason: string;
  /**
   * How many requests wait.
   */
  requests: number;
  /**
   * Since when the first request waits, in milliseconds since 1970, UTC.
   */
  since_ms: number;
}
/**
 * One ComfyUI, as the daemon sees it.
 */
export interface BackendInfo {
  /**
   * Its name in the configuration.
   */
  name: string;
  /**
   * The address of ComfyUI.
   */
  url: string;
  /**
   * Whether its websocket is open.
   */
  connected: boolean;
  /**
   * The version of ComfyUI, if known.
   */
  version?: string;
  /**
   * How often the websocket was opened again.
   */
  reconnects?: number;
  /**
   * How often the websocket was open and delivered nothing.
   */
  deaf?: number;
  /**
   * How often prompts were looked up because the websocket was silent.
   */
  sweeps?: number;
  /**
   * How many node classes ComfyUI has, by its last answer; `null` if it was never asked.
   */
  node_classes?: number | null;
  /**
   * `connected`; `away`: it cannot be used now, see `problem`; `draining`: a person paused it, and it still has prompts of the daemon's, or some that were moved away from it; `paused`: a person paused it, and it has none.
   */
  state?: "away" | "connected" | "draining" | "paused";
  /**
   * Why it cannot be used; empty if it can.
   */
  problem?: string;
  /**
   * After how many seconds without working others get the prompts that it has; 0 for never (`[comfyui.NAME] move_after_s`).
   */
  move_after_s?: number;
  /**
   * What it has to do and has done; `null` for a token that sees one label only.
   */
  work?: BackendWork | null;
  /**
   * Its tags in the configuration.
   */
  tags?: string[];
  /**
   * The files of the models that the last prompt loads which was sent there, so they should be loaded now; at most 32. `null` if none was sent since the daemon's start, and for a token that sees one label only.
   */
  warm?: string[] | null;
  /**
   * The configured workflows that it can run. `null` if the request did not ask with `fits`, or if it has never said what it has.
   */
  fits?: string[] | null;
  /**
   * The configured workflows that it cannot run, each with what is missing. `null` as `fits` is.
   */
  lacks?: {
    [k: string]: string;
  } | null;
}
/**
 * What one ComfyUI has of the daemon's work, and what it has done since the daemon's start.
 */
export interface BackendWork {
  /**
   * How many prompts it may have at once (`queue_depth`).
   */
  places: number;
  /**
   * Prompts that it runs now, as far as it has said.
   */
  running?: number;
  /**
   * Other prompts that are in its queue or on their way there.
   */
  waiting?: number;
  /**
   * Prompts that it has finished and whose files are still to be fetched.
   */
  fetching?: number;
  /**
   * Runs that ended there since the daemon's start: `finished`, `failed`, `refused`, `lost` (ComfyUI was restarted), `removed` and `moved` (left behind, so that another one renders the prompt).
   */
  ended?: {
    [k: string]: number;
  };
  /**
   * Images whose files came in the last hour. If the daemon started less than an hour ago, the images since then, multiplied as if the hour went on like this.
   */
  images_per_hour?: number;
  /**
   * Images whose files came from there since the daemon's start.
   */
  images?: number;
  /**
   * Seconds since the daemon's start in which it had a prompt of the daemon's, also while it could not be reached.
   */
  busy_s?: number;
  /**
   * How often it was sent a prompt that loads other models than the one before.
   */
  model_changes?: number;
  /**
   * Attempts that were left behind there when their prompts moved, and that may still run.
   */
  strays?: number;
  /**
   * Different graphs of open batches that it refuses, as far as it was asked.
   */
  unfit?: number;
}
/**
 * One store, as the daemon sees it.
 */
export interface StoreInfo {
  /**
   * Its name in the configuration.
   */
  name: string;
  /**
   * The kind of store, which names its plugin.
   */
  kind: string;
  /**
   * The identity of the store: which place it is.
   */
  identity: string;
  /**
   * Why the store cannot be used; empty if it can.
   */
  problem?: string;
  /**
   * Which promise of comfyledger does not hold for the store, because its section says so; empty if all hold.
   */
  caveat?: string;
}
/**
 * The input files that the daemon keeps, and what is still to be removed of others.
 */
export interface InputsHeld {
  /**
   * How many files it keeps.
   */
  files: number;
  /**
   * How many bytes they have.
   */
  size_bytes: number;
  /**
   * How many bytes they may have.
   */
  quota_bytes: number;
  /**
   * How many files are still to be removed: by the name of the ComfyUI, or under an empty name in the daemon's own folder.
   */
  removals?: {
    [k: string]: number;
  };
}
/**
 * The work that waits for a ComfyUI and needs the same of it.
 */
export interface DemandInfo {
  /**
   * What it needs, as the metrics name it: `any`, its tags, `backend:NAME` if only this one may render it, or `other` for all above 31 different needs.
   */
  needs: string;
  /**
   * The tags that a ComfyUI must have for it.
   */
  tags: string[];
  /**
   * The only ComfyUI that may render it; empty if there is none such.
   */
  backend: string;
  /**
   * Prompts that wait in the daemon and may go to a ComfyUI now.
   */
  queued: number;
  /**
   * Prompts that have a place at a ComfyUI.
   */
  running: number;
  /**
   * Seconds that one ComfyUI would take for those that wait, from the measured times of prompts with the same models, or else the same needs, or else of all; `null` while none was measured.
   */
  queued_s: number | null;
  /**
   * How many ComfyUIs would finish all of it within `[scheduling] wanted_wait_s`, those that run some of it included: at least 1 while there is any, 0 if there is none, and never more than prompts.
   */
  backends_wanted: number;
}
/**
 * A webhook and how its deliveries are.
 */
export interface WebhookInfo {
  /**
   * The name of the webhook.
   */
  name: string;
  /**
   * Its address, without a query, which may hold a secret.
   */
  url: string;
  /**
   * The kinds of events that it delivers.
   */
  kinds: string[];
  /**
   * Where it comes from: `configured`, or `added` while the daemon runs.
   */
  origin: "added" | "configured";
  /**
   * `working`; `failing` (its endpoint takes nothing now, and is tried again); `paused` (by a person); `gone` (paused, because its endpoint answered 410); `dead` (paused, because nothing was taken for five days); or `not_allowed` (`webhooks_allowed` does not name its address any more).
   */
  state: "dead" | "failing" | "gone" | "not_allowed" | "paused" | "working";
  /**
   * Everything up to this position is delivered or put aside.
   */
  position: number;
  /**
   * How many positions the log is ahead of `position`.
   */
  behind?: number;
  /**
   * For how many seconds the oldest event has waited that is not delivered.
   */
  behind_s?: number;
  /**
   * When an event was taken last, in milliseconds since 1970, UTC; 0 for never.
   */
  delivered_ms?: number;
  /**
   * Since when nothing was taken, in milliseconds since 1970, UTC; 0 if the last event was.
   */
  failing_ms?: number;
  /**
   * When the next try is due, in milliseconds since 1970, UTC; 0 if nothing has failed.
   */
  next_ms?: number;
  /**
   * Why the last event was not taken: `http_503` and the like, `timeout`, `not_reached`, or `address_not_allowed`; empty if it was.
   */
  code?: string;
  /**
   * A sentence for people.
   */
  text?: string;
  /**
   * How many events are put aside.
   */
  owed?: number;
  /**
   * The first of them, at most 20.
   */
  owed_first?: OwedDelivery[];
  /**
   * Whether it delivers the events of those batches only whose request names it.
   */
  per_batch?: boolean;
}
/**
 * An event that was put aside: its endpoint did not take it, though it took others.
 */
export interface OwedDelivery {
  /**
   * The event's place in the log.
   */
  position: number;
  /**
   * Its stream, mostly the batch id.
   */
  stream: string;
  /**
   * How often it was tried; 0 for one that waits behind another of its stream.
   */
  tries: number;
  /**
   * When it is tried again, in milliseconds since 1970, UTC; 0 for one that waits behind another.
   */
  next_ms: number;
  /**
   * Why it was not taken the last time.
   */
  code: string;
}
/**
 * One box of a fleet, as this one knows it.
 */
export interface BoxInfo {
  /**
   * Its name.
   */
  name: string;
  /**
   * `present`: it takes part; `silent`: it takes part, and has said nothing for some seconds; `left`: it takes part no more, and what it keeps waits for it; `given_up`: nobody waits for it.
   */
  state: "given_up" | "left" | "present" | "silent";
  /**
   * How often it has joined.
   */
  term: number;
  /**
   * When it joined or left last, in milliseconds since 1970, UTC.
   */
  since_ms: number;
  /**
   * Whether it is the box that answers.
   */
  own?: boolean;
  /**
   * How many seconds ago it was heard; `null` if this box never heard it.
   */
  heard_s?: number | null;
  /**
   * How many events it lacked when it was heard; `null` if it never was.
   */
  behind?: number | null;
  /**
   * The address of its daemon; empty if it names none.
   */
  url?: string;
  /**
   * Whether it is the one that delivers the webhooks.
   */
  delivers?: boolean;
}
/**
 * The disk of one folder that the daemon or a store writes to.
 */
export interface DiskInfo {
  /**
   * What the folder is for: the ledger, rendered files (`spool`), input files, or the files of a store that keeps them on a disk of this machine.
   */
  use: "inputs" | "ledger" | "spool" | "store";
  /**
   * The name of the store; empty for the others.
   */
  store: string;
  /**
   * The path of the folder.
   */
  folder: string;
  /**
   * How many bytes are free for the daemon; `null` if the disk cannot be read now.
   */
  free_bytes: number | null;
  /**
   * How many bytes the disk has; `null` if it cannot be read now.
   */
  size_bytes: number | null;
  /**
   * Nothing new is taken while fewer bytes are free (`free_min_bytes`): no batch for ledger and spool, no file for inputs. 0 for a store: its uploads pause when the disk is full.
   */
  free_min_bytes: number;
  /**
   * Folders with the same number are on one disk; `null` if that is not known now.
   */
  disk?: number | null;
}
export interface SurveyStoreResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Survey;
}
/**
 * A page of what a store holds, by series.
 */
export interface Survey {
  /**
   * The series that the page's files belong to.
   */
  found: SeriesHeld[];
  /**
   * How many files the page has.
   */
  files: number;
  /**
   * How many files have names that do not fit the templates.
   */
  others: number;
  /**
   * For the next page; empty at the end.
   */
  cursor?: string;
}
/**
 * A series as one page shows it. Other pages may show more files of it.
 */
export interface SeriesHeld {
  /**
   * The folder, as written in the store.
   */
  folder: string;
  /**
   * The file name before the number.
   */
  stem: string;
  /**
   * The highest number. A number has 1 to 15 digits, each 0 to 9.
   */
  highest: number;
  /**
   * The second highest number; 0 if there is none.
   */
  second: number;
  /**
   * How many files of the series are on this page.
   */
  images: number;
  /**
   * The file name after the number.
   */
  suffix?: string;
  /**
   * For each length in digits, the lowest and the highest number of that length. This is enough to find an outlier. Empty if these numbers are just `highest` and `second`.
   */
  extremes?: number[];
}
export interface RaiseSeriesResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: SeriesRaised;
}
/**
 * What became of the series of a `raise_series`.
 */
export interface SeriesRaised {
  /**
   * How many series the ledger did not know.
   */
  opened: number;
  /**
   * How many known series changed: their next number was raised, or this store's answer was recorded.
   */
  raised: number;
  /**
   * How many series stayed as they were.
   */
  unchanged: number;
}
export interface AddWebhookResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: AddedWebhook;
}
/**
 * A webhook that was added.
 */
export interface AddedWebhook {
  /**
   * The name of the webhook.
   */
  name: string;
  /**
   * Its address, without a query, which may hold a secret.
   */
  url: string;
  /**
   * The kinds of events that it delivers.
   */
  kinds: string[];
  /**
   * The secret that signs its requests, for the receiver. It is in no other answer.
   */
  secret: string;
  /**
   * Whether it is new or has other values than before.
   */
  changed?: boolean;
}
export interface RemoveWebhookResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: RemovedWebhook;
}
/**
 * A webhook that was removed.
 */
export interface RemovedWebhook {
  /**
   * The name of the webhook.
   */
  name: string;
}
export interface ListWebhooksResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Webhooks;
}
/**
 * All webhooks.
 */
export interface Webhooks {
  /**
   * The webhooks, by name.
   */
  webhooks: WebhookInfo[];
}
export interface TestWebhookResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: WebhookTested;
}
/**
 * What came of one test request.
 */
export interface WebhookTested {
  /**
   * Whether the endpoint answered with a status from 200 to 299.
   */
  taken: boolean;
  /**
   * For how many seconds it took.
   */
  took_s: number;
  /**
   * Why it was not taken; empty if it was.
   */
  code?: string;
  /**
   * A sentence for people.
   */
  text?: string;
}
export interface ReplayWebhookResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: WebhookReplayed;
}
/**
 * What is delivered again, or would be.
 */
export interface WebhookReplayed {
  /**
   * Events after this position are delivered again.
   */
  position: number;
  /**
   * How many events of its kinds these are, up to where it had come.
   */
  events: number;
  /**
   * Whether there are more than were counted: at most 100,000 are.
   */
  more?: boolean;
  /**
   * Whether this was a dry run: nothing was changed.
   */
  dry_run?: boolean;
}
export interface ListChecksResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Checks;
}
/**
 * The last results of `audit` and `doctor`.
 */
export interface Checks {
  /**
   * One for each command that was ever run to its end.
   */
  checks: CheckInfo[];
}
/**
 * The last result of one command.
 */
export interface CheckInfo {
  /**
   * Which command it was.
   */
  kind: "audit" | "doctor";
  /**
   * The command that checks the same again.
   */
  command: string;
  /**
   * When it ended, in milliseconds since 1970, UTC.
   */
  at_ms: number;
  /**
   * How many seconds it took.
   */
  took_s: number;
  /**
   * Whether an audit found nothing, or `doctor` no failure.
   */
  ok: boolean;
  /**
   * What was found, the worst first; at most 200.
   */
  findings?: CheckFinding[];
}
/**
 * One line of a check.
 */
export interface CheckFinding {
  /**
   * How bad it is.
   */
  level: "failure" | "ok" | "warning";
  /**
   * What was found. An audit counts what it found of one kind, and names the first.
   */
  text: string;
  /**
   * The command or action that mends it.
   */
  hint?: string;
}
export interface ActivityResult {
  type: "result";
  /**
   * The client's own mark of a request; its answer repeats it. At most 128 characters.
   */
  id: string | number | null;
  data: Activity;
}
/**
 * What happened, step by step.
 */
export interface Activity {
  /**
   * The length of a step, in seconds.
   */
  step_s: number;
  /**
   * Every step, oldest first.
   */
  buckets: ActivityBucket[];
  /**
   * The log was too long to be read at once: older steps are missing. Ask again to have them.
   */
  more?: boolean;
}
/**
 * What happened within one step. The waits are right within 5 %.
 */
export interface ActivityBucket {
  /**
   * When it begins, in milliseconds since 1970, UTC.
   */
  at_ms: number;
  /**
   * Images that were asked for.
   */
  requested: number;
  /**
   * Images that the first store of their batch took.
   */
  stored: number;
  /**
   * Images that failed.
   */
  failed: number;
  /**
   * Uploads that a store refused, and images that wait for a person's choice.
   */
  parked: number;
  /**
   * From the request to the first attempt of a prompt that began here: half of them waited less, in milliseconds; null if none began.
   */
  wait_ms_median?: number | null;
  /**
   * The same for 95 of 100 prompts.
   */
  wait_ms_p95?: number | null;
  /**
   * Images that each ComfyUI rendered.
   */
  backends?: {
    [k: string]: number;
  };
}
/**
 * The result of each request, by the type of the request.
 */
export interface Results {
  hello: Welcome;
  submit_batch: BatchAccepted;
  check_workflow: WorkflowReport;
  describe_workflow: WorkflowInputs;
  open_series: SeriesInfo;
  get_batch: BatchInfo;
  list_batches: Batches;
  get_image: ImageInfo;
  get_recipe: Recipe;
  list_images: Images;
  count_images: ImageCounts;
  list_characters: Characters;
  add_input: InputInfo;
  list_inputs: Inputs;
  forget_input: InputInfo;
  add_backend: AddedBackend;
  remove_backend: RemovedBackend;
  give_up_box: GivenUpBox;
  cancel: ChangedCount;
  retry: ChangedCount;
  set_priority: ChangedCount;
  recover: Recovered;
  forget: Forgotten;
  review: Reviewed;
  pause: ChangedCount;
  move: Moved;
  resume: ChangedCount;
  subscribe: Subscribed;
  unsubscribe: Unsubscribed;
  read_log: LogPage;
  explain: Explanation;
  server_info: Info;
  survey_store: Survey;
  raise_series: SeriesRaised;
  add_webhook: AddedWebhook;
  remove_webhook: RemovedWebhook;
  list_webhooks: Webhooks;
  test_webhook: WebhookTested;
  replay_webhook: WebhookReplayed;
  list_checks: Checks;
  activity: Activity;
}
