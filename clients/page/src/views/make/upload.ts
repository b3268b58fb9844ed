// Sends an input file and says how far it is. `fetch` does not tell how much was sent, XMLHttpRequest does.
import { Refused, type InputInfo } from "comfyledger";
import { useRef, useState } from "preact/hooks";
import { BASE } from "../../session/base";
import { session } from "../../session/session";
import { make as texts } from "../../texts";
import type { ChosenFile } from "./form";

const NAME_CHARS_MAX = 255;
/** The label of a daemon's own token, as the page's websocket has it; other tokens have their own. */
const CLIENT = "page";

interface Said {
  code?: Refused["code"];
  detail?: string;
  hint?: string;
}

/** A file that is on its way, or could not be sent. */
export interface Sending {
  file: File;
  /** 0 to 1. */
  part: number;
  error?: unknown;
}

/** Sends one file at a time; another one takes its place. */
export function useUpload(onChoose: (file: ChosenFile) => void) {
  const over = useRef<AbortController | undefined>(undefined);
  const [sending, setSending] = useState<Sending | undefined>(undefined);
  const send = async (file: File | undefined) => {
    if (!file) return;
    over.current?.abort();
    const { signal } = (over.current = new AbortController());
    setSending({ file, part: 0 });
    try {
      const { input } = await upload(file, (part) => !signal.aborted && setSending({ file, part }), signal);
      const preview = file.type.startsWith("image/") ? URL.createObjectURL(file) : undefined;
      onChoose({ asked: { input }, name: file.name, preview });
      setSending(undefined);
    } catch (error) {
      if (!signal.aborted) setSending({ file, part: 0, error });
    }
  };
  return { sending, send: (file: File | undefined) => void send(file) };
}

/** `onProgress` gets the part that was sent, 0 to 1. Rejects with Refused. */
function upload(file: File, onProgress: (part: number) => void, signal: AbortSignal): Promise<InputInfo> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const broken = () => reject(new Refused("not_running", texts.file.broken, { hint: texts.file.brokenHint }));
    request.open("PUT", `${BASE}/v1/inputs?name=${encodeURIComponent(file.name.slice(-NAME_CHARS_MAX))}`);
    request.setRequestHeader("Authorization", `Bearer ${session.peek()?.key ?? ""}`);
    request.setRequestHeader("Comfyledger-Client", CLIENT);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = ({ loaded, total }) => onProgress(total > 0 ? loaded / total : 0);
    request.onerror = broken;
    request.onabort = broken;
    request.onload = () => {
      const answer = read(request.responseText);
      if (request.status === 201 || request.status === 200) resolve(answer as unknown as InputInfo);
      else reject(new Refused(answer.code ?? "internal", answer.detail ?? texts.file.broken, { hint: answer.hint }));
    };
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(file);
  });
}

function read(text: string): Said {
  try {
    return JSON.parse(text) as Said;
  } catch {
    return {};
  }
}
