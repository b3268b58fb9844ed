import { useState } from "preact/hooks";
import { ask } from "../../live";
import { href } from "../../route";
import { mayChange } from "../../session/session";
import { image as texts } from "../../texts";
import { useAction } from "../../ui/actions";
import { Button } from "../../ui/Button";
import { Icon } from "../../ui/Icon";
import type { ImageInfo } from "../../ui/reviewing";
import { selected } from "../gallery/selection";
import { again } from "./again";
import type { Batch } from "./Facts";
import { fileName } from "./kinds";

export interface ActionsProps {
  image: ImageInfo;
  batch: Batch | undefined;
  /** An image to compare with, if there is one. */
  other?: string;
  onSelect: () => void;
}

/** Where one can go from an image, and its file. */
export function Actions({ image, batch, other, onSelect }: ActionsProps) {
  const { batch_id, index, image_id, file_url } = image;
  return (
    <div class="row">
      {batch && mayChange(batch.label) && <Retry image={image} />}
      {file_url && (
        <a class="button" href={file_url} download={fileName(image)}>
          <Icon name="download" />
          {texts.download}
        </a>
      )}
      <Button icon="check" pressed={selected.value.has(image_id)} title={texts.selectHint} onClick={onSelect}>
        {texts.select}
      </Button>
      <a class="button" href={href("story", [batch_id, index])}>
        {texts.story}
      </a>
      {file_url && other && (
        <a class="button" href={href("compare", [`${image_id}..${other}`])}>
          {texts.compare}
        </a>
      )}
    </div>
  );
}

/** Makes an image again. Show it to those who may submit. */
export function Again({ image: { image_id, batch_id, index } }: { image: ImageInfo }) {
  const [made, setMade] = useState("");
  const { run, pending } = useAction((seed: "same" | "new") => again(image_id, seed, setMade));
  return (
    <div class="row">
      <Button icon="retry" pending={pending.value} title={texts.sameHint} onClick={() => void run("same")}>
        {texts.sameSeed}
      </Button>
      <Button icon="retry" pending={pending.value} title={texts.newHint} onClick={() => void run("new")}>
        {texts.newSeed}
      </Button>
      <a class="button" href={href("make", [], { like: `${batch_id}/${index}` })}>
        {texts.otherInputs}
      </a>
      {made && <a href={href("gallery", [], { batch: made })}>{texts.follow}</a>}
    </div>
  );
}

const TRIED_AGAIN: readonly string[] = ["failed", "parked"];

function Retry({ image: { batch_id, index, state, code } }: { image: ImageInfo }) {
  const { run, pending } = useAction(async (take?: Take) => {
    await ask("retry", { batch_id, images: [index], ...(take && { take }) });
    return { text: texts.retried };
  });
  if (!TRIED_AGAIN.includes(state)) return null;
  if (code === "wrong_count") return <Takes run={run} isPending={pending.value} />;
  return (
    <Button icon="retry" kind="main" pending={pending.value} onClick={() => void run()}>
      {texts.retry}
    </Button>
  );
}

type Take = keyof typeof texts.take;

/** More files came than images were asked for, so a person says which to take. */
function Takes({ run, isPending }: { run: (take: Take) => unknown; isPending: boolean }) {
  return (
    <>
      {Object.entries(texts.take).map(([take, text]) => (
        <Button key={take} kind="main" pending={isPending} onClick={() => run(take as Take)}>
          {text}
        </Button>
      ))}
    </>
  );
}
