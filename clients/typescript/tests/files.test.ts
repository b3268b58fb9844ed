/** Files: inputs that an app sends, and the addresses of what was made. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { deflateSync, crc32 } from "node:zlib";
import { batchOf, law, refused, steer } from "./house.js";

/** A PNG of one colour, 8 x 8. `shade`: 0 to 255, so that tests have files of their own. */
function picture(shade: number): Buffer<ArrayBuffer> {
  const chunk = (kind: string, data: Buffer): Buffer => {
    const body = Buffer.concat([Buffer.from(kind), data]);
    const out = Buffer.alloc(8 + body.length);
    out.writeUInt32BE(data.length, 0);
    body.copy(out, 4);
    out.writeUInt32BE(crc32(body), 4 + body.length);
    return out;
  };
  const head = Buffer.from([0, 0, 0, 8, 0, 0, 0, 8, 8, 0, 0, 0, 0]);
  const rows = Buffer.concat(Array.from({ length: 8 }, () => Buffer.from([0, ...Array<number>(8).fill(shade)])));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk("IHDR", head),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

const digest = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

law("a Buffer, a part of one, a Blob and a File are sent byte for byte", async (made, transport) => {
  const bytes = picture(transport === "http" ? 1 : 2);
  const around = Buffer.concat([Buffer.alloc(7), bytes, Buffer.alloc(7)]);
  const given = [
    bytes,
    around.subarray(7, 7 + bytes.length),
    new Uint8Array(bytes).buffer,
    new Blob([bytes]),
    new File([bytes], "portrait.png"),
  ];
  for (const file of given) {
    const added = await made.addInput(file);
    assert.deepEqual([added.input, added.extension, added.width], [digest(bytes), "png", 8]);
  }
});

law("a file is sent again if the daemon was away, and renders as an input", async (made, transport) => {
  const bytes = picture(transport === "http" ? 3 : 4);
  await steer("kill");
  const adding = made.addInput(bytes);
  await steer("begin");
  const { input } = await adding;
  const workflow = {
    "1": { class_type: "LoadImage", inputs: { image: "x.png" } },
    "9": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "x" } },
  };
  const batch = await made.submit({ ...batchOf(1), workflow, inputs: { "1.image": { input } } });
  assert.equal((await made.wait(batch.batch_id)).stored, 1);
});

law("a file that is broken or too large has its code", async (made) => {
  await refused(made.addInput(picture(9).subarray(0, 60)), "input_broken");
  await refused(made.addInput(Buffer.alloc(24 * 2 ** 20), { name: "noise.png" }), "input_too_large");
});

law("the addresses of a file and of its thumbnails show them without a token", async (made) => {
  const { batch_id, public_ids } = await made.submit(batchOf(1));
  const batch = await made.wait(batch_id);
  const answer = await fetch(await made.fileUrl(public_ids?.[0] ?? ""));
  const bytes = Buffer.from(await answer.arrayBuffer());
  assert.equal(digest(bytes), `sha256:${batch.images?.[0]?.sha256}`);
  await refused(made.fileUrl("Areg/none"), "unknown_image");
  for (const size of ["small", "large"] as const) {
    const small = await fetch(await made.thumbnailUrl(public_ids?.[0] ?? "", size));
    assert.deepEqual([small.status, small.headers.get("content-type")], [200, "image/webp"]);
  }
});
