import { review as texts } from "../texts";
import { Icon } from "./Icon";

const STARS = [1, 2, 3, 4, 5] as const;

export interface StarsProps {
  /** 1 to 5; 0 for none. */
  rating: number;
  /** Without it the stars only show. The pressed star takes the rating back. */
  onRate?: (rating: number) => void;
}

/** A rating as stars. */
export function Stars({ rating, onRate }: StarsProps) {
  if (onRate === undefined) return <Shown rating={rating} />;
  return (
    <span class="stars" role="group" aria-label={texts.rating}>
      {STARS.map((star) => (
        <button
          key={star}
          type="button"
          class="star"
          aria-pressed={star === rating}
          aria-label={texts.stars(star)}
          title={texts.stars(star)}
          onClick={() => onRate(star === rating ? 0 : star)}
        >
          <Icon name="star" filled={star <= rating} />
        </button>
      ))}
    </span>
  );
}

function Shown({ rating }: { rating: number }) {
  if (rating === 0) return null;
  return (
    <span class="stars" role="img" aria-label={texts.stars(rating)} title={texts.stars(rating)}>
      {STARS.map((star) => (
        <Icon key={star} name="star" filled={star <= rating} />
      ))}
    </span>
  );
}
