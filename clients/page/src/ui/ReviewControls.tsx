import { useRef } from "preact/hooks";
import { may } from "../session/session";
import { review as texts } from "../texts";
import { perform } from "./actions";
import { Button } from "./Button";
import { ForgetButton } from "./ForgetButton";
import { isReviewable, reviewed, same, verdictOf, type Change, type ImageInfo } from "./reviewing";
import { Stars } from "./Stars";

export interface ReviewProps {
  /** One image, or a selection. Those without a file are left out. */
  images: readonly ImageInfo[];
  /** Gets the images as they are after a change, and after it was taken back. */
  onReviewed: (images: readonly ImageInfo[]) => void;
  /** Whether images can be rejected and forgotten in one step. */
  canForget?: boolean;
}

/** Approve, reject and rate. Without the right `operate` it only shows what was said. */
export function ReviewControls({ images, onReviewed, canForget = true }: ReviewProps) {
  const judged = images.filter(isReviewable);
  const act = useReview(judged, onReviewed);
  const verdict = same(judged, verdictOf);
  const rating = same(judged, (image) => image.rating ?? 0) ?? 0;
  if (judged.length === 0) return null;
  if (!may("operate")) return <ReviewShown verdict={verdict ?? "none"} rating={rating} />;
  const say = (said: "approved" | "rejected") => act({ verdict: verdict === said ? "none" : said });
  return (
    <div class="review" role="group" aria-label={texts.group(judged.length)}>
      <Button icon="check" pressed={verdict === "approved"} onClick={() => say("approved")}>
        {texts.approve}
      </Button>
      <Button icon="close" pressed={verdict === "rejected"} onClick={() => say("rejected")}>
        {texts.reject}
      </Button>
      <Stars rating={rating} onRate={(stars) => act({ rating: stars })} />
      {canForget && may("admin") && <ForgetButton images={judged} isRejecting onForgotten={onReviewed} />}
    </div>
  );
}

/** The action behind the controls, for keys that do the same. Changes in quick succession wait for one another. */
export function useReview(images: readonly ImageInfo[], onReviewed: ReviewProps["onReviewed"]) {
  const last = useRef<Promise<unknown>>(Promise.resolve());
  return (change: Change): void => {
    last.current = last.current.then(() => perform(() => reviewed(images, change, onReviewed)));
  };
}

/** A verdict and a rating, for whoever may only look. */
export function ReviewShown({ verdict, rating }: { verdict: string; rating: number }) {
  return (
    <span class="row">
      {verdict === "approved" && <span class="tag tag-good">{texts.isApproved}</span>}
      {verdict === "rejected" && <span class="tag tag-bad">{texts.isRejected}</span>}
      <Stars rating={rating} />
    </span>
  );
}
