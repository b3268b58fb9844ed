import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

export interface Tab<K extends string> {
  key: K;
  title: string;
}

export interface TabsProps<K extends string> {
  label: string;
  tabs: readonly Tab<K>[];
  selected: K;
  onSelect: (key: K) => void;
  /** The panel of the selected tab. */
  children: ComponentChildren;
}

/** One of several panels. Arrow keys, Home and End choose another, as screen readers expect of tabs. */
export function Tabs<K extends string>({ label, tabs, selected, onSelect, children }: TabsProps<K>) {
  const id = useId();
  const onKeyDown = (event: KeyboardEvent) => {
    const next = neighbour(tabs, selected, event.key);
    if (next === undefined) return;
    event.preventDefault();
    onSelect(next);
    document.getElementById(`${id}-${next}`)?.focus();
  };
  return (
    <>
      <div class="tabs" role="tablist" aria-label={label} onKeyDown={onKeyDown}>
        {tabs.map(({ key, title }) => (
          <button
            key={key}
            id={`${id}-${key}`}
            type="button"
            class="tab"
            role="tab"
            aria-selected={key === selected}
            aria-controls={`${id}-panel`}
            tabIndex={key === selected ? 0 : -1}
            onClick={() => onSelect(key)}
          >
            {title}
          </button>
        ))}
      </div>
      <div id={`${id}-panel`} role="tabpanel" aria-labelledby={`${id}-${selected}`}>
        {children}
      </div>
    </>
  );
}

function neighbour<K extends string>(tabs: readonly Tab<K>[], selected: K, key: string): K | undefined {
  const at = tabs.findIndex((tab) => tab.key === selected);
  const places: Record<string, number> = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 };
  const place = places[key];
  return place === undefined ? undefined : tabs[(place + tabs.length) % tabs.length]?.key;
}
