import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { common } from "../texts";

export interface PageProps {
  title: string;
  /** Shown beside the title, such as the main action of the view. */
  aside?: ComponentChildren;
  children: ComponentChildren;
}

/** The frame of a view: its heading, and the document's title. */
export function Page({ title, aside, children }: PageProps) {
  useEffect(() => {
    document.title = `${title} · ${common.product}`;
  }, [title]);
  return (
    <>
      <header class="page-head">
        <h1>{title}</h1>
        {aside}
      </header>
      {children}
    </>
  );
}
