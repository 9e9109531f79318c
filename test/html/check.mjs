// Opens each page of a folder at two widths, in dark and light, with and without scripts, and looks for what is wrong with it.
// Usage: CHROMIUM=/usr/bin/chromium node check.mjs PAGES SCREENSHOTS [looks]
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createRequire } from "node:module";
import { setTimeout } from "node:timers/promises";
import puppeteer from "puppeteer-core";

const [pages, shots] = process.argv.slice(2, 4).map((folder) => path.resolve(folder));
const onlyLooks = process.argv[4] === "looks";
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const widths = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 900 } };
const failures = [];
const fail = (where, what) => failures.push(`${where}: ${what}`);

const profile = await mkdtemp(path.join(tmpdir(), "check-html-"));
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM, userDataDir: profile,
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"], // as root in CI there is no sandbox
});

// open opens a page, and notes all that it should not do.
async function open(file, where, { scripts = true, scheme = "light", size = "desktop" } = {}) {
  const page = await browser.newPage();
  await page.setViewport({ ...widths[size], deviceScaleFactor: 1 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.setJavaScriptEnabled(scripts);
  const url = `file://${path.join(pages, file)}`;
  page.on("console", (message) => fail(where, `the console says ${message.text()}`));
  page.on("pageerror", (error) => fail(where, `the script fails: ${error}`));
  page.on("dialog", (dialog) => { fail(where, "it opens a dialog"); dialog.dismiss(); });
  page.on("request", (request) => { if (request.url() !== url) fail(where, `it asks for ${request.url()}`); });
  await page.goto(url);
  return page;
}

async function accessible(page, where, context) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate((context) => globalThis.axe.run(context ?? document), context);
  for (const violation of violations) {
    fail(where, `${violation.id}: ${violation.help}: ${violation.nodes.slice(0, 3).map((node) => `${node.html} ${node.failureSummary}`).join("\n    ")}`);
  }
}

// whole makes the window as high as the page: rows out of sight are neither drawn nor looked at.
async function whole(page, size) {
  for (let before = 0, height = 1; before !== height;) {
    before = height;
    height = await page.evaluate(() => Math.max(innerHeight, document.documentElement.scrollHeight));
    await page.setViewport({ width: widths[size].width, height, deviceScaleFactor: 1 });
    await setTimeout(50); // for the page to be laid out
  }
}

// wide says which elements reach beyond the screen.
const wide = (page) => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth ? [] :
  Array.from(document.querySelectorAll("body *")).filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
    .slice(0, 3).map((element) => element.outerHTML.slice(0, 80)));

async function looks(file) {
  for (const size of Object.keys(widths)) {
    for (const scheme of ["light", "dark"]) {
      const where = `${file}, ${size}, ${scheme}`;
      const page = await open(file, where, { scheme, size });
      if (file !== "large.html") await whole(page, size);
      await page.screenshot({ path: path.join(shots, `${path.parse(file).name}-${size}-${scheme}.png`) });
      for (const element of await wide(page)) fail(where, `it is wider than the screen: ${element}`);
      if (file !== "large.html") {
        await accessible(page, where);
        await page.evaluate(() => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
        await whole(page, size);
        await page.screenshot({ path: path.join(shots, `${path.parse(file).name}-${size}-${scheme}-opened.png`) });
        for (const element of await wide(page)) fail(where, `opened, it is wider than the screen: ${element}`);
        await accessible(page, `${where}, opened`);
      }
      await page.close();
    }
    const where = `${file}, ${size}, without scripts`;
    const page = await open(file, where, { scripts: false, size });
    const seen = await page.evaluate(() => ({
      controls: Array.from(document.querySelectorAll("form, button")).filter((element) => element.checkVisibility()).length,
      hidden: Array.from(document.querySelectorAll("#images tbody tr")).filter((row) => !row.checkVisibility()).length,
    }));
    if (seen.controls > 0) fail(where, "it shows controls that do nothing");
    if (seen.hidden > 0) fail(where, `${seen.hidden} rows are hidden`);
    if (file === "report.html") {
      await whole(page, size);
      await page.screenshot({ path: path.join(shots, `report-${size}-without-scripts.png`) });
    }
    await page.close();
  }
}

const rows = (page) => page.evaluate(() => Array.from(document.querySelectorAll("#images tbody tr")).filter((row) => row.checkVisibility())
  .map((row) => `${row.querySelector("b").textContent} ${row.dataset.verb}`));

async function same(page, where, want) {
  const got = await rows(page);
  if (got.join("\n") !== want.join("\n")) fail(where, `it shows ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

// head is the button in the heading of a column of images.
const head = async (page, name) => {
  for (const button of await page.$$("#images thead button")) {
    if (await button.evaluate((element) => element.textContent) === name) return button;
  }
  throw new Error(`no column ${name}`);
};

// filtered waits until what was typed has come through.
async function filtered(page, where, count, act) {
  await act();
  await page.waitForFunction((count) => document.getElementById("shown").textContent.startsWith(`${count} of `), { timeout: 5000 }, count)
    .catch(async () => fail(where, `${count} rows were expected: ${await page.$eval("#shown", (element) => element.textContent)}`));
}

async function works() {
  const where = "report.html, at work";
  const nginx = "docker.io/library/nginx:1.21", web = "ghcr.io/acme/web:v1", unnamed = `sha256:${"c".repeat(64)}`;
  for (const size of Object.keys(widths)) {
    const page = await open("report.html", where, { size });
    await same(page, where, [`${nginx} kept`, `${web} removed`, `${web} failed`, `${nginx} kept`, `${unnamed} kept`]);
    await (await head(page, "Size")).click();
    await same(page, `${where}, by size`, [`${web} removed`, `${web} failed`, `${nginx} kept`, `${nginx} kept`, `${unnamed} kept`]);
    await (await head(page, "Size")).press("Enter");
    await same(page, `${where}, by size upwards`, [`${unnamed} kept`, `${nginx} kept`, `${nginx} kept`, `${web} removed`, `${web} failed`]);
    if (await page.$eval("[aria-sort]", (element) => `${element.textContent} ${element.ariaSort}`) !== "Size ascending") fail(where, "it does not say what it is sorted by");
    await (await head(page, "Outcome")).click();
    await same(page, `${where}, by outcome`, [`${web} failed`, `${unnamed} kept`, `${nginx} kept`, `${nginx} kept`, `${web} removed`]);
    await (await head(page, "Vulnerabilities")).click();
    await same(page, `${where}, by vulnerabilities`, [`${nginx} kept`, `${nginx} kept`, `${web} failed`, `${web} removed`, `${unnamed} kept`]);
    await filtered(page, where, 2, () => page.type("input", "cve-2026-0001 nginx"));
    await same(page, `${where}, filtered`, [`${nginx} kept`, `${nginx} kept`]);
    await filtered(page, where, 5, () => page.$eval("input", (element) => { element.value = ""; element.dispatchEvent(new Event("input", { bubbles: true })); }));
    await filtered(page, where, 3, () => page.select("select[name=verb]", "kept"));
    await filtered(page, where, 1, () => page.select("select[name=code]", "TooRecent"));
    await same(page, `${where}, selected`, [`${unnamed} kept`]);
    await page.close();
  }
}

// stays looks whether a page of 5,000 rows is still usable.
async function usable() {
  for (const size of Object.keys(widths)) {
    const where = `large.html, ${size}`;
    const begin = Date.now();
    const page = await open("large.html", where, { size });
    const loaded = Date.now() - begin;
    const frame = () => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => globalThis.setTimeout(done))));
    const timed = async (act) => { const begin = Date.now(); await act(); await frame(); return Date.now() - begin; };
    const times = {
      loaded,
      sorted: await timed(async () => (await head(page, "Size")).evaluate((button) => button.click())),
      filtered: await timed(() => filtered(page, where, 1, () => page.type("input", "service-00042"))),
    };
    console.log(`${where}: ${JSON.stringify(times)} ms`);
    for (const [what, time] of Object.entries(times)) if (time > 5000) fail(where, `${what} after ${time} ms`);
    await page.close();
  }
}

async function harmless() {
  const page = await open("hostile.html", "hostile.html");
  const foreign = await page.evaluate(() => document.querySelectorAll("img, main script, main style, iframe, a").length);
  if (foreign > 0) fail("hostile.html", `${foreign} elements came out of names`);
  await page.close();
}

try {
  const files = (await readdir(pages)).sort();
  for (const file of files) await looks(file);
  if (!onlyLooks) {
    await works();
    await harmless();
    await usable();
  }
  console.log(`${files.length} pages were looked at; the screenshots are in ${shots}`);
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true });
}
for (const failure of failures) console.error(failure);
process.exitCode = failures.length > 0 ? 1 : 0;
