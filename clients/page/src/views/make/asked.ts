// What a part of the form has asked the daemon for.
import { useEffect, useState } from "preact/hooks";

export interface Asked<T> {
  value?: T;
  error?: unknown;
}

/** Asks whenever `key` changes; nothing is asked for an empty key. An answer to an earlier key is not used. */
export function useAsked<T>(key: string, ask: (signal: AbortSignal) => Promise<T>): Asked<T> {
  const [asked, setAsked] = useState<Asked<T> & { key: string }>({ key: "" });
  useEffect(() => {
    if (key === "") return undefined;
    const over = new AbortController();
    ask(over.signal).then(
      (value) => !over.signal.aborted && setAsked({ key, value }),
      (error: unknown) => !over.signal.aborted && setAsked({ key, error }),
    );
    return () => over.abort();
  }, [key]);
  return asked.key === key ? asked : {};
}
