// What keys do in the large view.
import type { Signal } from "@preact/signals";
import type { RefObject } from "preact";
import { may } from "../../session/session";
import { useReview } from "../../ui/ReviewControls";
import { isReviewable, verdictOf, type ImageInfo } from "../../ui/reviewing";
import { useKeys, type OnKey } from "./keys";
import { movedByKey, zoomedByKey, type Place } from "./zoom";

export interface ImageKeys {
  image: ImageInfo;
  /** Whether the person means this image; the next one may be still to come. */
  isCurrent: boolean;
  place: Signal<Place>;
  player: RefObject<HTMLMediaElement | null>;
  onSelect: () => void;
  onReviewed: (images: readonly ImageInfo[]) => void;
  /** Shows the next image of the list, or the one before. */
  onStep: (step: 1 | -1) => void;
  onBack: () => void;
}

export function useImageKeys(keys: ImageKeys): void {
  const act = useReview([keys.image], keys.onReviewed);
  const { image, isCurrent, place, player, onSelect, onStep, onBack } = keys;
  const toggle = (said: "approved" | "rejected") => act({ verdict: verdictOf(image) === said ? "none" : said });
  const review: OnKey = (key) => {
    if (!isCurrent || !may("operate") || !isReviewable(image)) return false;
    if (key === "a") toggle("approved");
    else if (key === "r") toggle("rejected");
    else if (/^[1-5]$/.test(key)) act({ rating: Number(key) === image.rating ? 0 : Number(key) });
    else return false;
    return true;
  };
  useKeys((key, event) => {
    const moved = zoomedByKey(place.peek(), key) ?? (event.shiftKey ? movedByKey(place.peek(), key) : undefined);
    if (moved) place.value = moved;
    else if (key === "ArrowRight") onStep(1);
    else if (key === "ArrowLeft") onStep(-1);
    else if (key === "Escape") onBack();
    else if (key === " " && player.current) playOrPause(player.current);
    else if (key === " ") onSelect();
    else return review(key, event);
    return true;
  });
}

function playOrPause(player: HTMLMediaElement): void {
  if (player.paused) void player.play().catch(() => undefined); // a broken file says so in its own event
  else player.pause();
}
