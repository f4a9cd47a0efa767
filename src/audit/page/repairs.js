// The table of repairs: search, filters, sorting and pages; the step before and after of those that are opened.

const ROWS = 50;
const MAX_CHOICES = 300;

function readRepairs() {
  const out = [];
  [...document.querySelectorAll("script.facts")].forEach((script, block) => {
    JSON.parse(script.textContent).forEach((facts, place) => out.push(repairOf(facts, block, place)));
    script.remove();
  });
  return out;
}

// Takes the list apart as `html.rs` writes it.
function repairOf(facts, block, place) {
  const [[rollout, row, repair], [group, reward], values, isCut, why] = facts;
  const is = Object.fromEntries(FIELDS.map((field, k) => [field.name, values[k]]));
  const least = is.similarity.reduce((found, value) => (found === null || value < found ? value : found), null);
  return { rollout, row, repair, group, reward, is, least, isCut, why, block, place, text: null };
}

const COLUMNS = [
  { name: "rollout", of: (r) => openButton(r) },
  { name: "row", key: (r) => r.row, of: (r) => count(r.row) },
  { name: "tool", of: (r) => r.is.tool ?? ABSENT },
  { name: "error types", of: (r) => tags([...new Set(r.is.error_types)], "tag") },
  { name: "granularity", of: (r) => r.is.granularity },
  { name: "similarity", key: (r) => r.least, of: (r) => decimal(r.least) },
  { name: "attempts", key: (r) => r.is.attempts, of: (r) => count(r.is.attempts) },
  { name: "reward", key: (r) => r.reward, of: (r) => precise(r.reward) },
  { name: "guards", of: (r) => tags(guardsOf(r), "tag warn") },
];

const lookOf = (column) => (column.key ? "number-cell" : null);
const guardsOf = (r) => GUARDS.filter(([key]) => r.is[key] === true).map(([, name]) => name);
const tags = (names, look) => names.map((name) => element("span", { class: look }, name));

const state = { repairs: [], found: [], page: 0, sort: null, isDescending: false };

function startRepairs() {
  state.repairs = readRepairs();
  choices("granularity", state.repairs, (r) => [r.is.granularity]);
  choices("tool", state.repairs, (r) => (r.is.tool === null ? [] : [r.is.tool]));
  choices("error-type", state.repairs, (r) => new Set(r.is.error_types));
  byId("guard-filters").append(...GUARDS.map(([key, name]) => element("label", { class: "check" }, element("input", { type: "checkbox", id: `only-${key}` }), name)));
  byId("columns").append(...COLUMNS.map(heading));
  listen();
  refresh();
}

// The most frequent values, each with its count.
function choices(id, repairs, valuesOf) {
  const counts = new Map();
  for (const repair of repairs) for (const value of valuesOf(repair)) counts.set(value, (counts.get(value) ?? 0) + 1);
  const listed = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, MAX_CHOICES);
  for (const [value, number] of listed) {
    const option = element("option", {}, `${value} (${count(number)})`);
    option.value = value;
    option.dataset.is = "value";
    byId(id).append(option);
  }
}

// Absent where all is chosen: a value from data may be empty, too.
function chosen(id) {
  const option = byId(id).selectedOptions[0];
  return option?.dataset.is === "value" ? option.value : null;
}

function heading(column) {
  const look = lookOf(column);
  if (!column.key) return element("th", { scope: "col", class: look }, column.name);
  const button = element("button", { type: "button" }, `${column.name} \u2195`);
  const cell = element("th", { scope: "col", class: look }, button);
  button.addEventListener("click", () => {
    state.isDescending = state.sort === column ? !state.isDescending : false;
    state.sort = column;
    for (const other of byId("columns").querySelectorAll("[aria-sort]")) {
      other.removeAttribute("aria-sort");
      other.firstChild.textContent = other.firstChild.textContent.replace(/.$/, "\u2195");
    }
    cell.setAttribute("aria-sort", state.isDescending ? "descending" : "ascending");
    button.textContent = `${column.name} ${state.isDescending ? "\u2193" : "\u2191"}`;
    refresh();
  });
  return cell;
}

function listen() {
  let waiting = 0;
  byId("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(refresh, 120);
  });
  // The search has been heard already: its change comes with the click that leaves it, and would take the clicked row away.
  byId("filters").addEventListener("change", (event) => event.target === byId("search") || refresh());
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => setTimeout(refresh));
  byId("previous").addEventListener("click", () => turn(state.page - 1));
  byId("next").addEventListener("click", () => turn(state.page + 1));
  byId("page").addEventListener("change", () => turn(Math.trunc(byId("page").valueAsNumber || 1) - 1));
}

function refresh() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [granularity, tool, error] = ["granularity", "tool", "error-type"].map(chosen);
  const guards = GUARDS.map(([key]) => key).filter((key) => byId(`only-${key}`).checked);
  state.found = state.repairs.filter((r) =>
    (granularity === null || r.is.granularity === granularity) && (tool === null || r.is.tool === tool) &&
    (error === null || r.is.error_types.includes(error)) && guards.every((key) => r.is[key] === true) &&
    (words.length === 0 || words.every((word) => searched(r).includes(word))));
  if (state.sort) sort(state.found, state.sort.key, state.isDescending);
  turn(0);
}

function searched(r) {
  r.text ??= [r.rollout, r.is.tool ?? "", ...r.is.error_types].join("\n").toLowerCase();
  return r.text;
}

// Absent values stay last, whichever way; equal ones keep their order.
function sort(repairs, key, isDescending) {
  const way = isDescending ? -1 : 1;
  repairs.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (!isNumber(x) || !isNumber(y)) return isNumber(y) - isNumber(x);
    return way * (x - y);
  });
}

function turn(page) {
  const pages = Math.max(1, Math.ceil(state.found.length / ROWS));
  state.page = Math.min(Math.max(0, page), pages - 1);
  const from = state.page * ROWS;
  const listed = state.found.slice(from, from + ROWS);
  byId("rows").replaceChildren(...listed.map((r) => element("tr", {}, COLUMNS.map((column) =>
    element("td", { class: lookOf(column) }, column.of(r))))));
  if (listed.length === 0) byId("rows").append(element("tr", {}, element("td", { colspan: COLUMNS.length, class: "note" }, "No repair matches.")));
  byId("page").value = state.page + 1;
  byId("page").max = pages;
  byId("pages").textContent = count(pages);
  byId("previous").disabled = state.page === 0;
  byId("next").disabled = state.page + 1 === pages;
  const range = listed.length ? `, ${count(from + 1)} to ${count(from + listed.length)} shown` : "";
  byId("status").textContent = state.found.length === state.repairs.length
    ? `${many(state.repairs.length, "repair")}${range}`
    : `${count(state.found.length)} of ${many(state.repairs.length, "repair")}${range}`;
}

function openButton(repair) {
  const button = element("button", { type: "button", class: "open", "aria-expanded": "false" }, repair.rollout === "" ? "(no name)" : repair.rollout);
  let sheet = null;
  button.addEventListener("click", async () => {
    const isOpen = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isOpen));
    if (isOpen) return sheet.remove();
    sheet = element("tr", { class: "detail" }, element("td", { colspan: COLUMNS.length }, element("div", { class: "sheet" }, about(repair))));
    button.closest("tr").after(sheet);
    const box = sheet.querySelector(".sheet");
    try {
      box.append(comparison((await linesOf(repair.block))[repair.place]));
    } catch (error) {
      box.append(element("p", { class: "alert" }, `The step can't be unpacked: ${error.message}.`));
    }
  });
  return button;
}

// A value of the record, whatever it is.
function worded(value, number) {
  if (Array.isArray(value)) return value.map((item) => worded(item, number)).join(", ") || ABSENT;
  if (typeof value === "boolean") return value ? "yes" : "no";
  return isNumber(value) ? number(value) : value ?? ABSENT;
}

// Why the later step counts as a correction, in words; nothing where the record does not say.
function whyOf([correction, affinity, evidence, sideEffects, citedLater]) {
  if (correction === null) return null;
  const told = (kind, name) => own(WORDS[kind], name) ?? name;
  const rules = evidence ?? [];
  const lines = [told("corrections", correction) + (isNumber(affinity) ? ` (affinity ${decimal(affinity)})` : ""),
    ...(rules.length === 0 ? ["no rule spoke: the affinity is how alike the two calls are"] : []),
    ...rules.map((name) => (own(WORDS.rules, name) === null ? name : `${name}: ${own(WORDS.rules, name)}`)),
    ...(sideEffects === null ? [] : [told("side_effects", sideEffects)]),
    ...(citedLater === null ? [] : [WORDS.cited_later[Number(citedLater)]])];
  return [element("p", {}, element("strong", {}, "Why this is a correction")), element("ul", {}, lines.map((line) => element("li", {}, line)))];
}

function about(r) {
  const all = [["group", r.group ?? ABSENT], ["repair of its rollout", count(r.repair + 1)],
    ...FIELDS.map(({ name, label, decimal: isDecimal }) => [label, worded(r.is[name], isDecimal ? decimal : count)])];
  return [element("dl", { class: "about" }, all.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))),
    whyOf(r.why), r.isCut ? element("p", { class: "note" }, "Long text was truncated.") : null];
}

const inflated = new Map();

// The lines of all repairs of a block; inflated once.
function linesOf(block) {
  if (!inflated.has(block)) inflated.set(block, inflate(document.querySelectorAll("script.lines")[block].textContent));
  return inflated.get(block);
}

async function inflate(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return JSON.parse(await new Response(stream).text());
}

// Lines of both sides stand abreast; removed lines beside those that came in their place.
function comparison(lines) {
  const cells = [element("div", { class: "head" }, "before"), element("div", { class: "head" }, "after")];
  let [gone, come] = [[], []];
  const settle = () => {
    for (let k = 0; k < Math.max(gone.length, come.length); k += 1) cells.push(...abreast(gone[k], come[k]));
    [gone, come] = [[], []];
  };
  for (const line of lines) {
    const text = line.slice(1);
    if (line[0] === "-") gone.push(text);
    else if (line[0] === "+") come.push(text);
    else {
      settle();
      cells.push(element("div", {}, sign(" "), text), element("div", { class: "repeat" }, sign(" "), text));
    }
  }
  settle();
  return element("div", { class: "diff" }, cells);
}

const sign = (mark) => element("span", { class: "sign" }, mark);

function abreast(before, after) {
  const none = () => element("div", { class: "none" });
  if (before === undefined) return [none(), element("ins", {}, sign("+"), after)];
  if (after === undefined) return [element("del", {}, sign("\u2212"), before), none()];
  const [head, tail] = shared(before, after);
  const parts = (text) => {
    const end = text.length - tail;
    const isMarked = head + tail > 0 && head < end;
    return isMarked ? [text.slice(0, head), element("mark", {}, text.slice(head, end)), text.slice(end)] : [text];
  };
  return [element("del", {}, sign("\u2212"), parts(before)), element("ins", {}, sign("+"), parts(after))];
}

// How many characters both begin and end with, without cutting one in two.
function shared(a, b) {
  const isHalf = (text, at) => at > 0 && at < text.length && text.codePointAt(at - 1) > 0xffff;
  const most = Math.min(a.length, b.length);
  let head = 0;
  while (head < most && a[head] === b[head]) head += 1;
  if (isHalf(a, head) || isHalf(b, head)) head -= 1;
  let tail = 0;
  while (tail < most - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  if (isHalf(a, a.length - tail) || isHalf(b, b.length - tail)) tail -= 1;
  return [head, tail];
}

drawReport(JSON.parse(byId("report").textContent));
startRepairs();
document.documentElement.dataset.ready = "true";
performance.mark("ready");
