// Images that are parked or failed, by reason, with what helps.
import { ask } from "../../live";
import { href } from "../../route";
import { may } from "../../session/session";
import { care as texts } from "../../texts";
import { ForgetButton } from "../../ui/ForgetButton";
import { Empty } from "../../ui/Empty";
import { Problem } from "../../ui/Problem";
import { Spinner } from "../../ui/Spinner";
import { Words } from "../../ui/Words";
import { useAnswer } from "./answered";
import { RecoverButton } from "./RecoverButton";

const STATES = ["parked", "failed"] as const;
const SHOWN = 5;
const CHANGING = /^(image_|files_|store_|batch_reopened)/;

type State = (typeof STATES)[number];
type Found = Awaited<ReturnType<typeof groups>>;
type Group = Found[number];

async function groups() {
  const counted = await Promise.all(STATES.map(async (state) => ofState(state)));
  return counted.flat();
}

async function ofState(state: State) {
  const { groups = [] } = await ask("count_images", { state, by: "code" });
  return Promise.all(
    groups
      .filter(({ count }) => count > 0)
      .map(async ({ value: code, count }) => {
        const { images } = await ask("list_images", { state, ...(code ? { code } : {}), limit: SHOWN });
        return { state, code, count, images };
      }),
  );
}

export function Needs() {
  const { value, problem, again } = useAnswer(groups, "", ({ kind }) => CHANGING.test(kind));
  return (
    <section class="stack" aria-labelledby="needs">
      <h2 id="needs">{texts.needs}</h2>
      {value === undefined && (problem === undefined ? <Spinner told /> : <Problem error={problem} />)}
      {value?.length === 0 && <Empty title={texts.nothing}>{texts.nothingText}</Empty>}
      {value?.some(({ state }) => state === "parked") && <p class="small muted">{texts.explained.parked}</p>}
      {value?.some(({ state }) => state === "failed") && <p class="small muted">{texts.explained.failed}</p>}
      {value?.map((group) => (
        <GroupCard key={`${group.state} ${group.code}`} group={group} onDone={again} />
      ))}
    </section>
  );
}

function GroupCard({ group, onDone }: { group: Group; onDone: () => void }) {
  const { state, code, count, images } = group;
  const why = images.find(({ text }) => text)?.text;
  return (
    <article class="card lane" aria-label={`${texts.states[state]}: ${code}`}>
      <header class="batch-head">
        <h3>
          {texts.reasons[code] ?? code} <code class="small">{code}</code>
        </h3>
        <span class={`tag ${state === "failed" ? "tag-bad" : "tag-wait"}`}>{texts.counted(texts.states[state], count)}</span>
      </header>
      {why && (
        <p class="note">
          <Words text={why} />
        </p>
      )}
      <ul class="care-images">
        {images.map(({ image_id, batch_id, index, name }) => (
          <li key={image_id}>
            <a href={href("story", [batch_id, index])}>{name}</a>
          </li>
        ))}
        {count > images.length && (
          <li>
            <a href={href("gallery", [], { state, code })}>{texts.others(count - images.length)}</a>
          </li>
        )}
      </ul>
      <span class="batch-actions">
        {may("admin") && count === images.length && <ForgetButton images={images} onForgotten={onDone} />}
        {may("operate") && <Actions state={state} code={code} onDone={onDone} />}
      </span>
    </article>
  );
}

/** What helps for all of them at once. A choice among files is made for each batch, in its story. */
function Actions({ state, code, onDone }: { state: State; code: string; onDone: () => void }) {
  if (code === "wrong_count") return <span class="small muted">{texts.chooseText}</span>;
  const wanted = code ? { code } : {};
  return (
    <>
      {state === "parked" && code === "collision" && (
        <RecoverButton text={texts.renumber} wanted={{ ...wanted, new_number: true }} onDone={onDone} />
      )}
      <RecoverButton text={texts.retryAll} wanted={wanted} onDone={onDone} />
    </>
  );
}
