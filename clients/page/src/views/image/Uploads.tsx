import { image as texts, uploadStates } from "../../texts";
import type { ImageInfo } from "../../ui/reviewing";
import { Words } from "../../ui/Words";

type Upload = NonNullable<ImageInfo["uploads"]>[number];

const LOOKS: Record<string, string> = { stored: "tag-good", owed: "tag-wait", uploading: "tag-calm", parked: "tag-bad" };

/** Which stores have the file, and why others do not. */
export function Uploads({ uploads }: { uploads: readonly Upload[] }) {
  if (uploads.length === 0) return <p class="muted">{texts.noStores}</p>;
  return (
    <ul class="image-uploads">
      {uploads.map((upload) => (
        <li key={upload.store}>
          <p class="row">
            <strong>{upload.store}</strong>
            <span class={`tag ${LOOKS[upload.state] ?? ""}`}>{uploadStates[upload.state] ?? upload.state}</span>
            {isWeb(upload.url) && (
              <a href={upload.url} target="_blank" rel="noopener noreferrer">
                {texts.openStored(upload.store)}
              </a>
            )}
          </p>
          {upload.code && <code class="problem-code">{upload.code}</code>}
          {upload.text && (
            <p class="small">
              <Words text={upload.text} />
            </p>
          )}
        </li>
      ))}
    </ul>
  );
}

/** The address of a folder store is a path on the daemon's machine, and a store's own text is no link to trust. */
function isWeb(url: string | undefined): boolean {
  return url !== undefined && /^https?:\/\//.test(url);
}
