import { findAddress, type Given } from "./address.js";
import type { CallOptions } from "./deadline.js";
import type { Pushed, PushedFor, Wanted } from "./events.js";
import { HttpTransport } from "./http.js";
import { Refused } from "./refused.js";
import { SocketTransport } from "./socket.js";
import { Subscription, type Course } from "./subscription.js";
import type { Answer, Limits, RequestData, RequestType, Transport } from "./transport.js";
import type {
  BatchAccepted,
  BatchInfo,
  ChangedCount,
  ImageInfo,
  InputInfo,
  Review,
  Reviewed,
  SubmitBatch,
  Waiting,
} from "./wire.js";

/** Where the daemon is, and how the client talks to it. */
export interface ClientOptions {
  /** `http://HOST:PORT` or `https://HOST`, perhaps with a path prefix; `ws` and `wss` mean the same. */
  url: Given<string | URL>;
  /** A token of `comfyledger token add`. A function is called for each connection, so that a token may change. */
  token?: Given<string>;
  /** The label that request ids belong to, unless the token has its own. Default: `default`. */
  name?: string;
  /** Seconds for each call, reconnecting included; Infinity for no limit. Default: 60. */
  timeoutS?: number;
  /**
   * `websocket`, or `http`: requests and Server-Sent Events over `fetch`. Default: a websocket where the platform has
   * one. Node has one since version 22.
   */
  transport?: "websocket" | "http";
  /** Called when an answer has to wait for the stores or for ComfyUI. Only a websocket says so. */
  onWaiting?: (waiting: Waiting) => void;
  /** Called when the connection is there, and when it breaks or does not open. Only a websocket says so. */
  onConnection?: (isConnected: boolean) => void;
}

/** A file for workflows to load. A `File` brings its name; `Buffer` is a `Uint8Array`. */
export type InputFile = Blob | ArrayBuffer | ArrayBufferView;

const TIMEOUT_S = 60;
const OVER: readonly string[] = ["settled", "cancelled"];

/**
 * A client of one daemon. It connects with the first call, finds the daemon again when the connection breaks, repeats
 * requests without an answer with the same body, and continues subscriptions after the last event.
 *
 * Every call rejects with Refused, or with the reason of the signal in its options. `close` it when you are done: an
 * open connection keeps Node running.
 */
export class Client {
  readonly #options: ClientOptions;
  readonly #http: HttpTransport;
  readonly #transport: Transport;

  constructor(options: ClientOptions) {
    this.#options = options;
    const find = () => findAddress(options.url, options.token);
    const label = options.name ?? "default";
    this.#http = new HttpTransport({ find, label });
    const hasSocket = typeof globalThis.WebSocket === "function";
    const isSocket = (options.transport ?? (hasSocket ? "websocket" : "http")) === "websocket";
    const probe = this.#http.probe.bind(this.#http);
    const { onWaiting, onConnection } = options;
    this.#transport = isSocket ? new SocketTransport({ find, label, probe, onWaiting, onConnection }) : this.#http;
  }

  /**
   * Connects now and once, to find a wrong address or token early. Rejects with Refused: `not_running`, `unauthorized`,
   * `forbidden_host`, `forbidden_origin`, `config_invalid`. Other calls connect by themselves and wait for the daemon.
   */
  connect(options: CallOptions = {}): Promise<void> {
    return this.#transport.connect(this.#limits(options));
  }

  /** Ends the connection. Calls without an answer and subscriptions reject with Refused (`not_running`). */
  close(): void {
    this.#transport.close();
    this.#http.close();
  }

  /** Any request of the wire, by its type: `request("retry", { batch_id })`. docs/wire.md describes each. */
  request<T extends RequestType>(type: T, data: RequestData<T>, options: CallOptions = {}): Promise<Answer<T>> {
    return this.#transport.ask(type, data, this.#limits(options));
  }

  /**
   * Asks for a batch. Make up one `request_id` for each; the same id with the same body gets the same answer, so a call
   * that failed may be repeated.
   */
  submit(batch: SubmitBatch, options?: CallOptions): Promise<BatchAccepted> {
    return this.request("submit_batch", batch, options);
  }

  /** A batch with its images. Rejects with `unknown_batch`. */
  getBatch(batchId: string, options?: CallOptions): Promise<BatchInfo> {
    return this.request("get_batch", { batch_id: batchId }, options);
  }

  /** An image, by its whole public id or `<batch_id>/<index>`. Rejects with `unknown_image`. */
  getImage(image: string, options?: CallOptions): Promise<ImageInfo> {
    return this.request("get_image", { image }, options);
  }

  /** Gives up what is not rendered yet: the whole batch, or the images with these indexes, from 1. Numbers stay used. */
  cancel(batchId: string, images: number[] = [], options?: CallOptions): Promise<ChangedCount> {
    return this.request("cancel", { batch_id: batchId, images }, options);
  }

  /**
   * Approves, rejects or rates images, by public id or `<batch_id>/<index>`: all of them or none. What is not given stays
   * as it is; `none` and 0 take it back. A repeat changes nothing. Rejects with `unknown_image`, `no_file`.
   */
  review(images: string[], review: Omit<Review, "images">, options?: CallOptions): Promise<Reviewed> {
    return this.request("review", { images: images as Review["images"], ...review }, options); // the daemon refuses none
  }

  /**
   * A signed address of an image's file, for example for `<img>`; a browser needs no token for it. It ends after
   * `[door] file_url_s` of the daemon, by default 23 to 24 hours. Rejects with `unknown_image` if there is no file yet.
   */
  async fileUrl(image: string, options?: CallOptions): Promise<string> {
    const found = await this.getImage(image, options);
    return addressed(found, found.file_url, "Ask again when the image is kept.");
  }

  /**
   * A signed address of a small WebP of an image, at most 256 pixels wide and high; `large`: 1024. As `fileUrl`, but it
   * may be that of a store that scales. Rejects with `unknown_image` also if there are no thumbnails of such files.
   */
  async thumbnailUrl(image: string, size: "small" | "large" = "small", options?: CallOptions): Promise<string> {
    const found = await this.getImage(image, options);
    const url = size === "large" ? found.thumbnail_large_url : found.thumbnail_url;
    return addressed(found, url, "Ask again when the image is kept, if it is a picture or a video.");
  }

  /**
   * Sends a file for workflows to load; its `input` goes into a request: `inputs: { picture: { input } }`. The same
   * bytes are the same input file, so it is sent again if the connection breaks. It always goes over HTTP.
   *
   * `name` says by its extension what bytes are that do not say it themselves; default: the name of a `File`. Rejects
   * with `input_broken`, `input_too_large`, `inputs_full`, `storage_full`.
   */
  async addInput(file: InputFile, options: CallOptions & { name?: string } = {}): Promise<InputInfo> {
    const named = options.name ?? (file instanceof Blob && "name" in file ? String(file.name) : "");
    const body = file instanceof Blob ? file : bytesOf(file);
    const sizeBytes = body instanceof Blob ? body.size : body.byteLength;
    return this.#http.upload({ body, sizeBytes, name: named }, this.#limits(options));
  }

  /**
   * Events of the log: first all after `after`, then new ones as they come. `after: 0` is the beginning, -1 is now. To
   * continue where an earlier run of the app stopped, give the `position` and the `epoch` of the last event that you
   * processed. It ends only when you leave the loop.
   */
  subscribe<const W extends Wanted>(wanted: W, options: CallOptions = {}): Subscription<PushedFor<W>> {
    return this.#subscription(wanted, options, { before: async () => undefined, isLast: async () => false });
  }

  /**
   * The events of one batch, from its beginning or after a position, until the batch is settled. Rejects with
   * `unknown_batch`.
   */
  follow<const W extends Omit<Wanted, "batch_id" | "username" | "kinds">>(
    batchId: string,
    wanted: W = {} as W,
    options: CallOptions = {},
  ): Subscription<PushedFor<W>> {
    return this.#followed(batchId, wanted, options);
  }

  /** Waits until a batch is settled, and answers with its images. `timeoutS` limits reconnecting, not the rendering. */
  async wait(batchId: string, options: CallOptions = {}): Promise<BatchInfo> {
    for await (const _ of this.#followed(batchId, { kinds: ["batch_settled"] }, options)) continue;
    return this.getBatch(batchId, options);
  }

  #followed<W extends Wanted>(batchId: string, wanted: W, options: CallOptions): Subscription<PushedFor<W>> {
    const status = async () => (await this.getBatch(batchId, options)).status;
    return this.#subscription({ ...wanted, batch_id: batchId }, options, {
      before: status,
      isLast: async ({ kind }) => kind === "batch_settled" && OVER.includes(await status()), // unless it was reopened
    });
  }

  #subscription<E extends Pushed>(wanted: Wanted, options: CallOptions, course: Course): Subscription<E> {
    return new Subscription(this.#transport, wanted, this.#limits(options), course);
  }

  #limits({ timeoutS, signal }: CallOptions): Limits {
    return { timeoutS: timeoutS ?? this.#options.timeoutS ?? TIMEOUT_S, isGiven: timeoutS !== undefined, signal };
  }
}

/** An address that an answer has, or a refusal that says why it has none. */
function addressed({ image_id, state }: ImageInfo, url: string | undefined, hint: string): string {
  if (url) return url;
  throw new Refused("unknown_image", `The image ${image_id} is ${state}; it has no such address.`, {
    hint: `${hint} Browsers need a [door] that listens at a port.`,
  });
}

/** The bytes of a buffer, or of the part of one that a view shows. */
function bytesOf(file: ArrayBuffer | ArrayBufferView): Uint8Array<ArrayBuffer> {
  if (file instanceof ArrayBuffer) return new Uint8Array(file);
  return new Uint8Array(file.buffer as ArrayBuffer, file.byteOffset, file.byteLength);
}
