"use strict";
// Text, numbers and elements. Whatever is shown goes through `element` or `shape`: strings become text nodes, with what
// can't be seen written out. Nothing here turns text into markup.

const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\u{e0000}-\u{e007f}]/gu;
const NAMED = { "\n": "\\n", "\r": "\\r", "\t": "    " };
const ABSENT = "\u2013";

// Text from data, as the terminal shows it: control characters and direction marks are written out.
function shown(text) {
  return String(text).replace(HIDDEN, (c) => NAMED[c] ?? `\\u{${c.codePointAt(0).toString(16)}}`);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, shown(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined) continue;
    node.append(child instanceof Node ? child : document.createTextNode(shown(child)));
  }
  return node;
}

// Names of elements and of attributes are this page's own, never data.
const element = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const shape = (name, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
const byId = (id) => document.getElementById(id);

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const formatted = (options) => {
  const format = new Intl.NumberFormat("en", options);
  return (value) => (isNumber(value) ? format.format(value).replace("-", "\u2212") : ABSENT);
};
const count = formatted({ maximumFractionDigits: 0 });
const percent = formatted({ style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const decimal = formatted({ minimumFractionDigits: 2, maximumFractionDigits: 2 });
const precise = formatted({ maximumSignificantDigits: 4 });
const share = (part, whole) => (isNumber(part) && whole > 0 ? part / whole : null);
const rate = (tally) => share(tally?.failed, tally?.attempts);
const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

// columns: { name, numeric, bars, short (never wrapped), of: row => text or node }. The first column names its row.
function table(columns, rows, { empty = "Nothing to show.", most = 12, caption = null } = {}) {
  if (rows.length === 0) return element("p", { class: "note" }, empty);
  const kind = (column) => (column.numeric ? "number-cell" : column.short ? "short-cell" : column.bars ? "bars" : null);
  const line = (row) =>
    element("tr", {}, columns.map((column, k) =>
      element(k === 0 ? "th" : "td", { class: kind(column), scope: k === 0 ? "row" : null }, column.of(row))));
  const body = element("tbody", {}, rows.slice(0, most).map(line));
  const head = columns.map((column) => element("th", { class: kind(column), scope: "col" }, column.name));
  const box = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption ?? "Table" },
    element("table", {}, element("thead", {}, element("tr", {}, head)), body));
  if (rows.length > most) {
    const more = element("button", { type: "button", class: "more" }, `Show all ${count(rows.length)}`);
    more.addEventListener("click", () => {
      body.append(...rows.slice(most).map(line));
      more.remove();
    });
    box.append(more);
  }
  return box;
}

function block(title, note, ...content) {
  return element("div", { class: "block" }, element("h3", {}, title), note ? element("p", { class: "note" }, note) : null, content);
}

function legend(...entries) {
  return element("div", { class: "legend" }, entries.map(([look, text]) =>
    element("span", {}, element("span", { class: `swatch ${look}` }), text)));
}

// Two bars, each a share of the longest in its table.
function bars(before, after, longest) {
  return [["before", before], ["after", after]].map(([side, value]) => {
    const bar = element("span", { class: `bar ${side}` });
    bar.style.width = `${100 * (share(value, longest) ?? 0)}%`;
    return bar;
  });
}
