export interface Part {
  /** Chooses the colour: bar-stored, bar-kept, bar-failed … */
  kind: string;
  value: number;
  /** For the sentence that screen readers get: "3 stored". */
  text: string;
}

export interface BarProps {
  label: string;
  parts: readonly Part[];
  total: number;
}

/** How far something is: parts of a whole beside one another. Its sentence names every part. */
export function Bar({ label, parts, total }: BarProps) {
  const shown = parts.filter(({ value }) => value > 0);
  const sentence = shown.map(({ text }) => text).join(", ");
  return (
    <div class="bar" role="img" aria-label={sentence ? `${label}: ${sentence}` : label} title={sentence}>
      {shown.map(({ kind, value }) => (
        <span key={kind} class={`bar-part bar-${kind}`} style={{ width: `${(100 * value) / Math.max(total, 1)}%` }} />
      ))}
    </div>
  );
}
