import type { ComponentChildren } from "preact";
import { connection, info } from "./live";
import { banners as texts } from "./texts";
import { Spinner } from "./ui/Spinner";
import { Words } from "./ui/Words";

/** What concerns every view: the daemon is away, or takes no new work. */
export function Banners() {
  const { storage_full = false, storage_text = "", locked_text = "" } = info.value ?? {};
  return (
    <div role="status">
      {connection.value === "away" && (
        <Banner>
          <Spinner />
          {texts.away}
        </Banner>
      )}
      {storage_full && (
        <Banner isBad>
          <Words text={texts.full(storage_text)} />
        </Banner>
      )}
      {locked_text && (
        <Banner isBad>
          <Words text={texts.locked(locked_text)} />
        </Banner>
      )}
    </div>
  );
}

function Banner({ isBad = false, children }: { isBad?: boolean; children: ComponentChildren }) {
  return <p class={isBad ? "banner banner-bad" : "banner"}>{children}</p>;
}
