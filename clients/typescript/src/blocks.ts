import { within } from "./deadline.js";

/** One block of Server-Sent Events. `event` and `data` are empty if it has none. (WHATWG HTML, 9.2) */
export interface Block {
  id: string | undefined;
  event: string;
  data: string;
}

/** The daemon sends at least a comment every 15 seconds. After so long without a byte the stream is broken. */
const SILENCE_MS = 45_000;
/** No block of the daemon is nearly as large; a stream of something else is not kept in memory. */
const BLOCK_CHARS_MAX = 64 * 2 ** 20;

/** The blocks of a stream until it ends. Rejects when it breaks, is silent for too long, or with the signal's reason. */
export async function* readBlocks(body: ReadableStream<Uint8Array>, signal: AbortSignal): AsyncGenerator<Block> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await soon(reader.read(), signal);
      if (done) return;
      const blocks = (text + decoder.decode(value, { stream: true })).split("\n\n");
      text = blocks.pop() ?? "";
      if (text.length > BLOCK_CHARS_MAX) throw new Error("The stream has a block without an end.");
      yield* blocks.map(readBlock);
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

async function soon<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("The stream is silent.")), SILENCE_MS);
  });
  try {
    return await within(signal, Promise.race([promise, late]));
  } finally {
    clearTimeout(timer);
  }
}

function readBlock(text: string): Block {
  const block: Block = { id: undefined, event: "", data: "" };
  for (const line of text.split("\n")) {
    const [, name, value = ""] = /^(\w+): ?(.*)$/.exec(line) ?? [];
    if (name === "id") block.id = value;
    else if (name === "event") block.event = value;
    else if (name === "data") block.data += block.data ? `\n${value}` : value;
  }
  return block;
}
