// How full the disks are, and below what nothing new is taken.
import { info } from "../../live";
import { now as texts } from "../../texts";
import { Bar } from "../../ui/Bar";
import { Words } from "../../ui/Words";
import { disksOf, type Disk } from "./rooms";
import { size } from "./sizes";

export function Disks() {
  if (info.value === undefined) return null;
  const { storage_text, inputs, disks } = info.value;
  const shown = disksOf(disks ?? []);
  return (
    <section class="stack" aria-labelledby="disks">
      <h2 id="disks">{texts.disks}</h2>
      {shown.length === 0 && (
        <p class="card small">
          <Words text={storage_text || texts.roomFine} />
        </p>
      )}
      {shown.map((disk) => (
        <DiskCard key={disk.key} disk={disk} />
      ))}
      {inputs && inputs.files > 0 && (
        <p class="small muted">{texts.inputs(size(inputs.size_bytes), size(inputs.quota_bytes))}</p>
      )}
    </section>
  );
}

function DiskCard({ disk }: { disk: Disk }) {
  const names = texts.onDisk(disk.folders.map(({ use, store }) => texts.uses[use](store)));
  return (
    <article class="card lane" aria-label={names}>
      <h3>{names}</h3>
      <Room disk={disk} />
      <details class="small">
        <summary>{texts.folders(disk.folders.length)}</summary>
        <ul class="disk-folders">
          {disk.folders.map(({ use, store, folder }) => (
            <li key={`${use} ${store}`}>
              {texts.uses[use](store)}: <code>{folder}</code>
            </li>
          ))}
        </ul>
      </details>
    </article>
  );
}

function Room({ disk: { room, freeMinBytes } }: { disk: Disk }) {
  if (room === undefined) return <p class="note small">{texts.unread}</p>;
  const { freeBytes, sizeBytes } = room;
  const isShort = freeMinBytes > 0 && freeBytes < freeMinBytes;
  const used = Math.max(0, sizeBytes - freeBytes);
  const words = `${texts.free(size(freeBytes), size(sizeBytes))} ${freeMinBytes > 0 ? texts.least(size(freeMinBytes)) : texts.noLeast}`;
  return (
    <>
      <Bar
        label={texts.disk}
        parts={[{ kind: isShort ? "failed" : "used", value: used, text: texts.used(size(used)) }]}
        total={sizeBytes}
      />
      <p class={isShort ? "note small" : "small"}>{words}</p>
    </>
  );
}
