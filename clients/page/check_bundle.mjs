// Proves that the committed bundle is what the sources give, and that its script is small enough.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { FILES, SERVED, buildPage } from "./build.mjs";

const SCRIPT_BYTES_MAX = 150_000; // compressed, issue 22

const folder = await mkdtemp(join(tmpdir(), "page-"));
try {
  await buildPage(folder);
  for (const file of FILES) {
    const [built, committed] = await Promise.all([folder, SERVED].map((place) => readFile(join(place, file)).catch(() => null)));
    if (committed === null || !built.equals(committed)) fail(`${file} is not current. Run \`make page\` and commit the result.`);
  }
  const sizeBytes = gzipSync(await readFile(join(folder, "page.js")), { level: 9 }).length;
  if (sizeBytes > SCRIPT_BYTES_MAX) fail(`page.js has ${sizeBytes} bytes compressed; at most ${SCRIPT_BYTES_MAX} are allowed.`);
  console.log(`The bundle is current. page.js has ${sizeBytes} bytes compressed, of ${SCRIPT_BYTES_MAX}.`);
} finally {
  await rm(folder, { recursive: true, force: true });
}

function fail(why) {
  console.error(why);
  process.exitCode = 1;
}
