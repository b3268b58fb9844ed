import type { Answer } from "comfyledger";
import type { ComponentChildren } from "preact";
import { ask } from "../../live";
import { href } from "../../route";
import { image as texts } from "../../texts";
import { isOf, useAnswer } from "./answer";

export type Story = Answer<"explain">;
type Loaded = NonNullable<Story["loads"]>[number];

const SHOWN_MAX = 12;

/** What the image was made from, and what was made from it. */
export function Descent({ story }: { story: Story }) {
  const { loads = [], loaded_by = [], made_like = [], batch } = story;
  const like = batch?.like ?? "";
  if (loads.length + loaded_by.length + made_like.length === 0 && !like) return <p class="muted">{texts.noDescent}</p>;
  return (
    <>
      {loads.length > 0 && (
        <Row title={texts.madeFrom} hasMore={loads.length > SHOWN_MAX}>
          {loads.slice(0, SHOWN_MAX).map((file) => (
            <LoadedFile key={`${file.address} ${file.image || file.sha256}`} file={file} />
          ))}
        </Row>
      )}
      {like && (
        <Row title={texts.madeLike}>
          <Thumb imageId={like} caption={texts.recipeOf} />
        </Row>
      )}
      <Batches title={texts.ledTo} batches={loaded_by} />
      <Batches title={texts.againAs} batches={made_like} />
    </>
  );
}

function Row({ title, hasMore = false, children }: { title: string; hasMore?: boolean; children: ComponentChildren }) {
  return (
    <section class="image-descent">
      <h3>{title}</h3>
      <ul class="image-thumbs">{children}</ul>
      {hasMore && <p class="muted small">{texts.moreInStory}</p>}
    </section>
  );
}

/** An earlier image, or an input file, of which there is no picture. */
function LoadedFile({ file: { image, input, extension, sha256 = "" } }: { file: Loaded }) {
  if (image) return <Thumb imageId={image} caption={input} />;
  return (
    <li class="image-thumb">
      <span class="image-thumb-frame">{extension || texts.inputFile}</span>
      <span class="small" title={sha256}>
        {input}
      </span>
    </li>
  );
}

/** Each batch by its first image. */
function Batches({ title, batches }: { title: string; batches: readonly string[] }) {
  if (batches.length === 0) return null;
  return (
    <Row title={title} hasMore={batches.length > SHOWN_MAX}>
      {batches.slice(0, SHOWN_MAX).map((batch) => (
        <Thumb key={batch} imageId={`${batch}/1`} />
      ))}
    </Row>
  );
}

/** A small picture that leads to its image. */
function Thumb({ imageId, caption }: { imageId: string; caption?: string }) {
  const [batchId = "", index = ""] = imageId.split("/");
  const { value } = useAnswer(imageId, () => ask("get_image", { image: imageId }), isOf(batchId));
  const name = value?.name ?? imageId;
  return (
    <li class="image-thumb">
      <a href={href("image", [batchId, index])} title={name}>
        {value?.thumbnail_url ? (
          <img class="image-thumb-frame" src={value.thumbnail_url} alt={name} loading="lazy" />
        ) : (
          <span class="image-thumb-frame">{name}</span>
        )}
        {caption && <span class="small">{caption}</span>}
      </a>
    </li>
  );
}
