// Builds the page into the folder from which the daemon serves it: one script, one style sheet, and the licences of what
// is in them. The same sources and packages give the same bytes, so `make check-page` can compare.
import { build } from "esbuild";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const MODULES = join(HERE, "node_modules");
/** Where the daemon's package keeps them. */
export const SERVED = join(HERE, "../../daemon/comfyledger/server/page_files");
export const FILES = ["page.js", "page.css", "LICENSES.txt"];

/** Writes FILES into a folder. */
export async function buildPage(folder) {
  await mkdir(folder, { recursive: true });
  const built = await build({
    absWorkingDir: HERE,
    entryPoints: { page: "src/main.tsx" },
    outdir: folder,
    bundle: true,
    minify: true,
    sourcemap: false,
    format: "iife",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
    metafile: true,
    logLevel: "warning",
  });
  await writeFile(join(folder, "LICENSES.txt"), await licences(Object.keys(built.metafile.inputs)));
}

/** The licence texts of all packages that have a file in the bundle. */
async function licences(inputs) {
  const names = new Set(inputs.map(packageOf).filter((name) => name !== undefined));
  const texts = [];
  for (const name of [...names].sort()) texts.push(await licence(name));
  return texts.join("\n");
}

/** `node_modules/@preact/signals/dist/x.mjs` → `@preact/signals`; undefined for sources of the page. */
function packageOf(input) {
  const [first, ...rest] = relative(MODULES, join(HERE, input)).split("/");
  if (first === "..") return undefined;
  return first.startsWith("@") ? `${first}/${rest[0]}` : first;
}

async function licence(name) {
  const folder = join(MODULES, name);
  const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
  if (file === undefined) throw new Error(`The package ${name} has no licence file.`);
  const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  const text = await readFile(join(folder, file), "utf8");
  return `${name} ${version} (${license})\n\n${text.trim()}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildPage(process.argv[2] ?? SERVED);
