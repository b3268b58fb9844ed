import type { Answer } from "comfyledger";
import type { ComponentChildren } from "preact";
import { href } from "../../route";
import { image as texts } from "../../texts";
import { Copy } from "../../ui/Copy";
import type { ImageInfo } from "../../ui/reviewing";
import { StateTag } from "../../ui/StateTag";
import { Time } from "../../ui/Time";
import { sizeText } from "./kinds";

export type Batch = NonNullable<Answer<"explain">["batch"]>;

/** What an image is, and whose. */
export function Facts({ image, batch }: { image: ImageInfo; batch: Batch | undefined }) {
  const { batch_id, width, height, size_bytes = 0, extension, sha256 } = image;
  return (
    <dl class="image-facts">
      <Fact name={texts.state}>
        <StateTag state={image.state} />
      </Fact>
      <Fact name={texts.number}>{image.number}</Fact>
      <Fact name={texts.name}>
        {image.public_id} <Copy text={image.public_id} what={texts.copyName} />
      </Fact>
      {batch && <Whose batch={batch} />}
      <Fact name={texts.batch}>
        <a href={href("gallery", [], { batch: batch_id })}>{texts.place(image.index, batch?.quantity)}</a>{" "}
        <Copy text={batch_id} what={texts.copyBatch} />
      </Fact>
      {batch && (
        <Fact name={texts.requested}>
          <Time atMs={batch.requested_at_ms} />
        </Fact>
      )}
      {sha256 && (
        <Fact name={texts.file}>
          {[extension, width && height ? `${width} × ${height}` : "", sizeText(size_bytes)].filter(Boolean).join(", ")}
        </Fact>
      )}
    </dl>
  );
}

function Whose({ batch: { username, character } }: { batch: Batch }) {
  return (
    <>
      <Fact name={texts.user}>
        <a href={href("gallery", [], { user: username })}>{username}</a>
      </Fact>
      <Fact name={texts.character}>
        <a href={href("gallery", [], { user: username, character })}>{character}</a>
      </Fact>
    </>
  );
}

/** A line of a list of facts. */
export function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class="image-fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
