// What the daemon's advice means for this page. `explain` names a command of the command line; where the page can do the
// same, it offers a button. Everything else stays a command to copy.
import type { RequestData } from "comfyledger";
import { ask, refreshInfo } from "../live";
import { refreshBatches } from "../live/batches";
import { may, type Right } from "../session/session";
import { remedies as texts } from "../texts";
import type { Done } from "./actions";
import type { Question } from "./confirming";

export interface Remedy {
  /** The words of the button. */
  text: string;
  act: () => Promise<Done>;
  question?: () => Question;
}

interface Known {
  words: RegExp;
  right: Right;
  remedies: (found: readonly string[]) => readonly Remedy[];
}

const TAKES = ["first", "last", "all"] as const;
type Take = (typeof TAKES)[number];

/** The commands that `explain` gives (queries/reasons.py and its neighbours). */
const KNOWN: readonly Known[] = [
  { words: /^resume (\S+:.+|everything)$/, right: "operate", remedies: ([, scope = ""]) => [resuming(scope)] },
  { words: /^webhook resume (\S+)$/, right: "operate", remedies: ([, name = ""]) => [resuming(`webhook:${name}`)] },
  {
    words: /^retry (\S+)(?: --image (\d+))?$/,
    right: "submit_configured",
    remedies: ([, batch_id = "", index]) => [retrying(batch_id, index === undefined ? [] : [Number(index)])],
  },
  {
    words: /^retry (\S+) --take first$/,
    right: "submit_configured",
    remedies: ([, batch_id = ""]) => TAKES.map((take) => taking(batch_id, take)),
  },
  { words: /^cancel (\S+)$/, right: "submit_configured", remedies: ([, batch_id = ""]) => [cancelling(batch_id)] },
  { words: /^move (backend:\S+)$/, right: "operate", remedies: ([, scope = ""]) => [moving(scope)] },
  {
    words: /^recover --batch (\S+) --code collision --new-number$/,
    right: "operate",
    remedies: ([, batch_id = ""]) => [renumbering(batch_id)],
  },
];

/** What the page can do instead of a command, the likeliest first; nothing if it cannot, or if the session may not. */
export function remediesOf(command: string): readonly Remedy[] {
  const words = unquoted(command.replace(/^comfyledger /, ""));
  for (const { words: pattern, right, remedies } of KNOWN) {
    const found = pattern.exec(words);
    if (found) return may(right) ? remedies(found) : [];
  }
  return [];
}

/** Without the quotes that a shell needs around names with spaces. */
function unquoted(words: string): string {
  return words.replace(/'([^']*)'/g, "$1");
}

function resuming(scope: string): Remedy {
  return {
    text: texts.resume(scope),
    act: async () => {
      await ask("resume", { scope });
      refreshInfo();
      refreshBatches();
      return {
        text: texts.resumed(scope),
        undo: () => ask("pause", { scope }),
      };
    },
  };
}

function retrying(batch_id: string, images: number[]): Remedy {
  return {
    text: images.length > 0 ? texts.retryImage : texts.retryAll,
    act: async () => {
      const { images: count } = await ask("retry", { batch_id, images });
      refreshBatches();
      return { text: texts.retried(count) };
    },
  };
}

/** The command names the first choice; a person may make each of them. */
function taking(batch_id: string, take: Take): Remedy {
  const { button, told, title, what } = texts.takes[take];
  return {
    text: button,
    act: async () => {
      await ask("retry", { batch_id, take });
      refreshBatches();
      return { text: told };
    },
    question: () => ({ title, consequences: [texts.takeWhy, what, texts.forGood], confirm: button }),
  };
}

function cancelling(batch_id: string): Remedy {
  return {
    text: texts.cancel,
    act: async () => {
      const { images } = await ask("cancel", { batch_id });
      refreshBatches();
      return { text: texts.cancelled(images) };
    },
    question: () => ({
      title: texts.cancelTitle,
      consequences: [texts.cancelText, texts.forGood],
      confirm: texts.cancel,
      isDanger: true,
    }),
  };
}

function moving(scope: string): Remedy {
  const name = scope.replace(/^backend:/, "");
  return {
    text: texts.move,
    act: async () => {
      await ask("move", { scope });
      refreshInfo();
      return { text: texts.moved(name) };
    },
    question: () => ({ title: texts.moveTitle(name), consequences: [texts.moveText, texts.moveMay], confirm: texts.move }),
  };
}

function renumbering(batch_id: string): Remedy {
  return {
    text: texts.renumber,
    act: async () => {
      await recover({ batch_id, code: "collision", new_number: true });
      return { text: texts.renumbered };
    },
    question: () => ({
      title: texts.renumberTitle,
      consequences: [texts.renumberText, texts.forGood],
      confirm: texts.renumber,
    }),
  };
}

/** Tries again what is parked or failed, page by page to the end. Resolves to the number of images. Rejects with Refused. */
export async function recover(wanted: RequestData<"recover">): Promise<number> {
  let cursor = "";
  let images = 0;
  do {
    const answer = await ask("recover", { ...wanted, cursor });
    images += answer.images;
    cursor = answer.cursor ?? "";
  } while (cursor !== "");
  refreshBatches();
  return images;
}
