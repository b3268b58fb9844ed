import type { Answer } from "comfyledger";
import { ask } from "../../live";
import { image as texts } from "../../texts";
import { Copy } from "../../ui/Copy";
import type { ImageInfo } from "../../ui/reviewing";
import { span } from "../../ui/spans";
import { isOf, useAnswer } from "./answer";
import { Fact } from "./Facts";

type RecipeInfo = Answer<"get_recipe">;

/** What made the image, or will make it: workflow, seed and inputs. */
export function Recipe({ image }: { image: ImageInfo }) {
  const { image_id, batch_id } = image;
  const { value } = useAnswer(image_id, () => ask("get_recipe", { image: image_id }), isOf(batch_id));
  if (value === undefined) return null;
  const { inputs, defaults } = value;
  return (
    <>
      <dl class="image-facts">
        <Fact name={texts.workflow}>{value.workflow || texts.ownGraph}</Fact>
        <Fact name={texts.seed}>
          {value.seed} <Copy text={String(value.seed)} what={texts.copySeed} />
        </Fact>
        {value.backend && <Fact name={texts.backend}>{value.backend}</Fact>}
        {took(value) > 0 && <Fact name={texts.took}>{span(took(value))}</Fact>}
      </dl>
      {inputs === null ? <p class="muted">{texts.inputsForgotten}</p> : <Values values={inputs} />}
      {Object.keys(defaults).length > 0 && (
        <details>
          <summary>{texts.defaults(Object.keys(defaults).length)}</summary>
          <Values values={defaults} />
        </details>
      )}
    </>
  );
}

/** From the moment in which the run was sent until its files were written, in milliseconds; 0 if that is not known. */
function took({ submitted_at_ms = 0, finished_at_ms = 0 }: RecipeInfo): number {
  return submitted_at_ms > 0 ? Math.max(0, finished_at_ms - submitted_at_ms) : 0;
}

function Values({ values }: { values: Record<string, unknown> }) {
  return (
    <dl class="image-values">
      {Object.entries(values).map(([name, value]) => (
        <div key={name} class="image-value">
          <dt>{name}</dt>
          <dd>{textOf(value)}</dd>
        </div>
      ))}
    </dl>
  );
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
