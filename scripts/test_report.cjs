// Drives the pages that scripts/test_report.sh makes: node test_report.cjs CHROMIUM PAGES SCREENSHOTS
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");

const [program, pages, pictures] = process.argv.slice(2);
const MOST_SECONDS = 3;
// A machine that is busy with other work says nothing about the page.
const isTimed = !process.env.UNTIMED;
const url = (name) => `file://${path.resolve(pages, name)}.html`;
const rows = "#rows > tr:not(.detail)";

// A failed call and its correction for each text, which stands wherever data can put one.
function rollouts(file) {
  const texts = JSON.parse(fs.readFileSync(file, "utf8"));
  const call = (text, k) => ({ id: `${text} ${k}`, type: "function", function: { name: text, arguments: JSON.stringify({ code: `${text} ${k}` }) } });
  return texts.map((text, row) => JSON.stringify({
    rollout_id: `${row} ${text}`, group_id: text, data_source: text, reward: row % 2,
    messages: [
      { role: "user", content: text },
      { role: "assistant", content: text, tool_calls: [call(text, 0)] },
      { role: "tool", tool_call_id: `${text} 0`, name: text, content: `Traceback (most recent call last):\n${text}\nValueError: ${text}` },
      { role: "assistant", content: `${text} again`, tool_calls: [call(text, 1)] },
      { role: "tool", tool_call_id: `${text} 1`, name: text, content: text },
      { role: "assistant", content: text },
    ],
  }) + "\n").join("");
}

async function main() {
  if (program === "--rollouts") return process.stdout.write(rollouts(pages));
  const { chromium } = require("playwright-core");
  fs.mkdirSync(pictures, { recursive: true });
  const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox"] });
  try {
    for (const test of [nothingToShow, tableWorks, keyboardWorks, repairOpens, picturesFit, manyOpenFast, textsDoNotRun, rolloutsDoNotRun, recipesFit]) {
      await test(browser);
      console.log(`ok ${test.name}`);
    }
  } finally {
    await browser.close();
  }
}

// A page, and the check at its end that the console stayed silent and nothing was loaded.
async function opened(browser, name, use, options = {}, ready = "html[data-ready]") {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const said = [];
  page.on("console", (message) => said.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => said.push(`error: ${error.stack}`));
  page.on("dialog", (dialog) => (said.push(`dialog: ${dialog.message()}`), dialog.dismiss()));
  page.on("popup", () => said.push("popup"));
  page.on("request", (request) => /^(file|data|blob):/.test(request.url()) || said.push(`request: ${request.url()}`));
  page.on("framenavigated", (frame) => frame === page.mainFrame() || said.push("a frame"));
  await page.goto(url(name));
  await page.waitForSelector(ready, { timeout: 30000 }).catch(() => assert.fail(said.join("\n") || "never ready"));
  await use(page);
  assert.deepEqual(said, []);
  await context.close();
}

const status = (page) => page.textContent("#status");
const column = (page, k) => page.$$eval(`${rows} > td:nth-child(${k})`, (cells) => cells.map((cell) => cell.textContent));
const numbers = (texts) => texts.filter((text) => text !== "\u2013").map((text) => Number(text.replace(/,/g, "").replace("\u2212", "-")));

async function nothingToShow(browser) {
  await opened(browser, "none", async (page) => {
    assert.equal(await status(page), "0 repairs");
    assert.match(await page.textContent("#rows"), /No repair matches/);
    assert.ok(!/NaN|undefined|null|Infinity/.test(await page.innerText("body")));
  });
}

async function tableWorks(browser) {
  await opened(browser, "some", async (page) => {
    assert.equal(await status(page), "1,234 repairs, 1 to 50 shown");
    assert.equal((await page.$$(rows)).length, 50);
    const displays = await page.$$eval("script", (all) => [...new Set(all.map((one) => getComputedStyle(one).display))]);
    assert.deepEqual(displays, ["none"], "blocks of data are laid out");

    await page.click("#columns button >> text=similarity");
    const up = numbers(await column(page, 6));
    assert.deepEqual(up, [...up].sort((a, b) => a - b));
    await page.click("#columns button >> text=similarity");
    const down = numbers(await column(page, 6));
    assert.deepEqual(down, [...down].sort((a, b) => b - a));
    assert.ok(down[0] > up[0]);
    assert.equal(await page.getAttribute("#columns th:nth-child(6)", "aria-sort"), "descending");
    for (const name of ["attempts", "row", "reward"]) await page.click(`#columns button >> text=${name}`);
    assert.equal((await page.$$("#columns [aria-sort]")).length, 1);

    await page.selectOption("#granularity", "deep");
    assert.deepEqual([...new Set(await column(page, 5))], ["deep"]);
    await page.selectOption("#tool", "shell");
    assert.deepEqual([...new Set(await column(page, 3))], ["shell"]);
    await page.selectOption("#error-type", "timeout");
    assert.ok((await column(page, 4)).every((text) => text.includes("timeout")));
    await page.click("#filters button[type=reset]");
    await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("1,234 repairs"));

    await page.check("#only-residue");
    assert.ok((await column(page, 9)).every((text) => text.includes("residue")));
    await page.uncheck("#only-residue");

    await page.fill("#search", "ROLLOUT_000777 ");
    await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("1 of 1,234"));
    assert.equal((await page.$$(rows)).length, 1);
    await page.fill("#search", "no such thing");
    await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("0 of 1,234"));
    await page.fill("#search", "");
    await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("1,234 repairs"));

    await page.fill("#page", "25");
    await page.press("#page", "Enter");
    assert.match(await status(page), /1,201 to 1,234 shown/);
    assert.ok(await page.isDisabled("#next"));
    await page.click("#previous");
    assert.match(await status(page), /1,151 to 1,200 shown/);
  });
}

async function keyboardWorks(browser) {
  await opened(browser, "some", async (page) => {
    await page.focus("#columns button >> nth=0");
    await page.keyboard.press("Enter");
    assert.equal(await page.getAttribute("#columns th:nth-child(2)", "aria-sort"), "ascending");
    await page.focus(".open >> nth=2");
    await page.keyboard.press("Space");
    await page.waitForSelector(".detail .diff");
    assert.equal(await page.getAttribute(".open >> nth=2", "aria-expanded"), "true");
    const unnamed = await page.$$eval("input, select, button", (all) => all.filter((one) => !one.labels?.length && !one.textContent.trim() && !one.ariaLabel).length);
    assert.equal(unnamed, 0);
  });
}

async function repairOpens(browser) {
  await opened(browser, "some", async (page) => {
    await page.fill("#page", "9"); // after the first block of lines
    await page.press("#page", "Enter");
    await page.click(".open >> nth=3");
    await page.waitForSelector(".detail .diff");
    const of = (selector) => page.$$eval(`.detail ${selector}`, (all) => all.map((one) => one.textContent));
    assert.match((await of("del"))[0], /is_prim\(n\)/);
    assert.match((await of("ins"))[0], /is_prime\(n\)/);
    assert.deepEqual(await of("ins mark"), ["e"].concat((await of("ins mark")).slice(1)));
    await page.click(".open >> nth=3");
    assert.equal((await page.$$(".detail")).length, 0);
  });
}

// Nothing is wider than the window, whatever is opened; a picture of each look is kept to be seen.
async function picturesFit(browser) {
  for (const width of [1280, 400]) {
    for (const colorScheme of ["light", "dark"]) {
      const options = { viewport: { width, height: 900 }, colorScheme, hasTouch: width < 500 };
      await opened(browser, "some", async (page) => {
        await page.click(".open >> nth=1");
        await page.waitForSelector(".detail .diff");
        await page.waitForTimeout(150);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(wide, 0, `${wide} pixels too wide at ${width}`);
        await page.evaluate(() => scrollTo({ top: 0, behavior: "instant" }));
        await page.screenshot({ path: path.join(pictures, `${width}_${colorScheme}_top.png`) });
        await page.screenshot({ path: path.join(pictures, `${width}_${colorScheme}.png`), fullPage: true });
        await page.locator("#repairs").screenshot({ path: path.join(pictures, `${width}_${colorScheme}_repairs.png`) });
      }, options);
    }
  }
}

async function manyOpenFast(browser) {
  const megabytes = fs.statSync(path.join(pages, "many.html")).size / 1e6;
  const times = [];
  for (let round = 0; round < 3; round += 1) {
    await opened(browser, "many", async (page) => {
      times.push(await page.evaluate(() => performance.getEntriesByName("ready")[0].startTime / 1000));
      assert.match(await status(page), /^100,000 repairs/);
      const start = Date.now();
      await page.fill("#search", "099999");
      await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("1 of 100,000"));
      await page.click(".open");
      await page.waitForSelector(".detail .diff");
      console.log(`   found and opened the last of 100,000 in ${(Date.now() - start) / 1000} s`);
    });
  }
  console.log(`   100,000 repairs (${megabytes.toFixed(0)} MB): from navigation to the table ${times.map((t) => t.toFixed(2)).join(", ")} s`);
  assert.ok(!isTimed || Math.max(...times) < MOST_SECONDS, `slower than ${MOST_SECONDS} s`);
}

// All that can be opened is opened: none of the texts has set its mark or become an element.
async function nothingRuns(page) {
  await page.$$eval("details", (all) => all.forEach((one) => (one.open = true)));
  await page.$$eval(".more", (all) => all.forEach((one) => one.click()));
  for (let k = 0; k < 4; k += 1) {
    await page.$$eval(".open", (all) => all.forEach((one) => one.click()));
    await page.waitForFunction(() => document.querySelectorAll(".detail .diff").length === 50);
    const alien = "script, iframe, img, style, math, body *[onload], *[onerror], *[onfocus], *[ontoggle], a[href^=javascript], main svg script";
    const found = await page.$$eval(alien, (all) => all.map((one) => one.outerHTML.slice(0, 60)));
    const own = /^<script type="(application\/json|text\/plain)" |^<script>"use strict"|^<style>:root/;
    assert.deepEqual(found.filter((html) => !own.test(html.replace(/\s+/g, " "))), []);
    if (k < 3) await page.click("#next");
  }
  assert.equal(await page.evaluate(() => window.pwned), undefined);
}

async function textsDoNotRun(browser) {
  await opened(browser, "texts", async (page) => {
    await nothingRuns(page);
    const text = await page.textContent("#errors");
    assert.ok(text.includes("<script>window.pwned=1</script>") && text.includes("\\u{202e}"));
  });
}

async function rolloutsDoNotRun(browser) {
  await opened(browser, "wild", async (page) => {
    assert.match(await status(page), /^200 repairs/);
    await nothingRuns(page);
  });
}

// The page of compared recipes: all of it in any window, and no name became an element.
async function recipesFit(browser) {
  if (!fs.existsSync(path.join(pages, "compare", "compare.html"))) return console.log("   no page of recipes: built without `train`");
  for (const width of [1280, 400]) {
    for (const colorScheme of ["light", "dark"]) {
      const look = async (page) => {
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(wide, 0, `${wide} pixels too wide at ${width}`);
        assert.deepEqual(await page.$$eval("tbody th", (all) => all.map((one) => one.textContent)), ["raw", "saar-positive", "sign-gate"]);
        assert.equal((await page.$$("figure svg")).length, 3);
        assert.equal((await page.$$("script, img, iframe, a")).length, 0);
        assert.ok((await page.textContent("header")).includes('<img src=x onerror="window.pwned=1">'));
        assert.equal(await page.evaluate(() => window.pwned), undefined);
        await page.screenshot({ path: path.join(pictures, `recipes_${width}_${colorScheme}.png`), fullPage: true });
      };
      await opened(browser, "compare/compare", look, { viewport: { width, height: 900 }, colorScheme }, "figure svg");
    }
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
