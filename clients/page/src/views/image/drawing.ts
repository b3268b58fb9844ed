// SVG files. The daemon sends them as downloads of no kind, so that no browser opens one as a page. Here the bytes get
// their kind back, for an `<img>` alone.
import { useEffect, useState } from "preact/hooks";

const BYTES_MAX = 16 * 1024 * 1024;

/** An address of the drawing for an `<img>`; empty until the bytes have come. It lives as long as the component. */
export function useDrawing(address: string, onError: () => void): string {
  const [drawn, setDrawn] = useState("");
  useEffect(() => {
    const over = new AbortController();
    let made = "";
    read(address, over.signal).then(
      (bytes) => {
        made = URL.createObjectURL(new Blob([bytes], { type: "image/svg+xml" }));
        setDrawn(made);
      },
      () => over.signal.aborted || onError(),
    );
    return () => {
      over.abort();
      if (made) URL.revokeObjectURL(made);
    };
  }, [address]);
  return drawn;
}

async function read(address: string, signal: AbortSignal): Promise<ArrayBuffer> {
  const answer = await fetch(address, { signal, credentials: "omit" });
  const isSmall = Number(answer.headers.get("Content-Length") ?? 0) <= BYTES_MAX;
  if (!answer.ok || !isSmall) throw new Error(`${answer.status}`);
  return answer.arrayBuffer();
}
