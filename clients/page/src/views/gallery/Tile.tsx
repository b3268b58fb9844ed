import { useEffect, useRef, useState } from "preact/hooks";
import { href } from "../../route";
import type { Filter } from "../../live/image_filter";
import type { Image } from "../../live/image_list";
import type { Pages } from "../../live/image_pages";
import { gallery as texts, states } from "../../texts";
import { gapAt, type Gap } from "./gaps";
import { active, selected } from "./selection";

export interface TileProps {
  pages: Pages;
  position: number;
  column: number;
  filter: Filter;
  /** Whether missing numbers can be told. */
  hasGaps: boolean;
}

/** The id of a tile in the document. */
export function tileId(position: number): string {
  return `tile-${position}`;
}

/** One image: its picture, or why there is none, and what people think of it. */
export function Tile({ pages, position, column, filter, hasGaps }: TileProps) {
  const image = pages.at(position);
  const isActive = active.value === position;
  const isSelected = image !== undefined && selected.value.has(image.image_id);
  const gap = hasGaps ? gapAt(pages, position) : undefined;
  return (
    <div
      id={tileId(position)}
      role="gridcell"
      class={isActive ? "tile tile-active" : "tile"}
      aria-colindex={column + 1}
      aria-selected={isSelected}
      aria-busy={image === undefined}
      data-at={position}
    >
      {image && <Content image={image} filter={filter} />}
      {gap && <GapLink gap={gap} filter={filter} />}
    </div>
  );
}

function Content({ image, filter }: { image: Image; filter: Filter }) {
  const { number, state, verdict, rating = 0 } = image;
  const why = image.thumbnail_url ? undefined : reason(image);
  const word = states[state] ?? state;
  // The place of the picture says it already.
  const isPlain = state === "stored" || state === "kept" || why === word;
  return (
    <>
      <a
        class="tile-open"
        href={href("image", [image.batch_id, image.index], filter)}
        tabIndex={-1}
        aria-label={spoken(image)}
        data-why={why}
      >
        {image.thumbnail_url && <Picture key={image.thumbnail_url} url={image.thumbnail_url} />}
      </a>
      <span class="tile-check" />
      <span class={verdict ? `tile-line tile-${verdict}` : "tile-line"} aria-hidden>
        {`${number}${rating > 0 ? ` ${"★".repeat(rating)}` : ""}`}
        <small class="tile-whose">{[isOne(filter) ? "" : whose(image), kind(image)].filter(Boolean).join(" · ")}</small>
        {!isPlain && <em class={`tile-state tile-${state}`}>{word}</em>}
      </span>
    </>
  );
}

/** Whether the filter says already whose images these are. */
function isOne({ user, character, batch }: Filter): boolean {
  return Boolean(batch || (user && character));
}

/** The name without its end, which says medium and number. */
function whose({ name }: Image): string {
  return name.replace(/_[^_]*_\d+$/, "");
}

/** What a still thumbnail does not tell: that the file is a video, a sound or something else. */
function kind({ medium = "image" }: Image): string {
  return medium === "image" ? "" : texts.media[medium];
}

/** A browser stops loading a picture whose address is taken away; it does not if only its element goes. */
function Picture({ url }: { url: string }) {
  const picture = useRef<HTMLImageElement>(null);
  const [isBroken, setBroken] = useState(false);
  useEffect(() => {
    const element = picture.current;
    return () => element?.removeAttribute("src");
  }, []);
  if (isBroken) return <span class="tile-broken">{texts.noPicture}</span>;
  return <img ref={picture} src={url} alt="" decoding="async" draggable={false} onError={() => setBroken(true)} />;
}

/** Why there is no picture. */
function reason({ code, extension, state }: Image): string {
  if (code) return code.replaceAll("_", " ");
  return state === "stored" || state === "kept" ? (extension ?? "") : (states[state] ?? state);
}

function GapLink({ gap: { from, to }, filter: { user, character } }: { gap: Gap; filter: Filter }) {
  const address = href("story", [String(to)], { user, character });
  return (
    <a class="tile-gap" href={address}>
      {texts.gap(from, to)}
    </a>
  );
}

/** What a screen reader says of a tile. */
function spoken(image: Image): string {
  const { number, state, code, verdict, rating = 0 } = image;
  return [
    texts.number(number),
    kind(image),
    states[state] ?? state,
    code && code !== state && code.replaceAll("_", " "),
    verdict && texts.verdicts[verdict],
    rating > 0 && texts.stars(rating),
  ]
    .filter(Boolean)
    .join(", ");
}
