// Draws each mermaid drawing of Markdown files, as GitHub does, and fails when one cannot be drawn.
// Usage: CHROMIUM=/usr/bin/chromium node drawings.mjs FILE...
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createRequire } from "node:module";
import puppeteer from "puppeteer-core";

const profile = await mkdtemp(path.join(tmpdir(), "check-drawings-"));
const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM, userDataDir: profile, args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"] });
const failures = [];
let drawn = 0;
try {
  const page = await browser.newPage();
  await page.addScriptTag({ path: createRequire(import.meta.url).resolve("@mermaid-js/tiny/dist/mermaid.tiny.js") });
  await page.evaluate(() => globalThis.mermaid.initialize({ startOnLoad: false, suppressErrorRendering: true }));
  for (const file of process.argv.slice(2)) {
    const text = await readFile(file, "utf8");
    for (const block of text.matchAll(/^```mermaid\n(.*?)^```$/gms)) {
      const line = text.slice(0, block.index).split("\n").length;
      const draw = (source) => globalThis.mermaid.render("drawing", source).then(() => "", (error) => `${error}`);
      const error = await page.evaluate(draw, block[1]);
      if (error) failures.push(`${file}:${line}: ${error}`);
      drawn++;
    }
  }
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true });
}
console.log(`${drawn} drawings were drawn`);
if (drawn === 0) failures.push("no file has a drawing");
for (const failure of failures) console.error(failure);
process.exitCode = failures.length > 0 ? 1 : 0;
