// Opens the page's document, draws its tables, and follows what is clicked.
"use strict";

const holder = document.querySelector(".plots");
const root = holder.dataset.root;
const dark = matchMedia("(prefers-color-scheme: dark)");
const AGAIN_MS = 2000;
const LATE_MS = 5000;  // a document that nobody looks at is let go in twice that time

function say(text, lost) {
  const state = document.getElementById("state");
  if (!state) return;
  state.textContent = text;
  state.className = lost ? "lost" : "";
}

// ---------------------------------------------------------------- tables

function size(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let place = 0;
  while (n >= 1024 && place < units.length - 1) { n /= 1024; place += 1; }
  return `${place ? n.toFixed(1) : n.toFixed(0)} ${units[place]}`;
}

const FORMS = {
  text: String,
  long: String,
  words: String,
  number: (n) => n.toLocaleString("en"),
  bytes: (n) => (n ? size(n) : "–"),
  percent: (n) => `${(100 * n).toFixed(0)} %`,
  bar: (n) => `${(100 * n).toFixed(0)} %`,
  done: (n) => `${Math.floor(100 * n)} %`,
  seconds: (n) => `${n.toFixed(n < 10 ? 1 : 0)} s`,
  clock: (n) => new Date(1000 * n).toLocaleString("sv"),  // "2026-01-31 23:59:59", as logs have it
};

function cell(form, value) {
  const made = document.createElement("td");
  if (form === "words") made.className = "words";
  else if (form !== "text" && form !== "long") made.className = "n";
  const text = value === null || value === undefined || Number.isNaN(value) ? "–" : FORMS[form](value);
  if (form === "long") {
    const box = document.createElement("pre");
    box.textContent = text;
    made.append(box);
  } else if ((form === "bar" || form === "done") && text !== "–") {
    const bar = document.createElement("span");
    bar.className = "bar";
    const part = document.createElement("span");
    part.className = form === "bar" && value > 0.7 ? "high" : "bytes";
    part.style.width = `${Math.min(100, 100 * value)}%`;
    bar.append(part);
    const both = document.createElement("span");
    both.className = "with-bar";
    both.append(bar, text);
    made.append(both);
  } else {
    made.textContent = text;
  }
  return made;
}

class Table {
  constructor(element, source) {
    this.element = element;
    this.source = source;
    this.heads = [...element.tHead.rows[0].cells];
    this.by = null;
    this.down = false;
    this.heads.forEach((head) => head.addEventListener("click", () => this.sortBy(head)));
    source.properties.data.change.connect(() => this.draw());
    this.draw();
  }

  sortBy(head) {
    const column = head.dataset.column;
    this.down = this.by === column ? !this.down : head.dataset.form !== "text";
    this.by = column;
    this.heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", this.down ? "descending" : "ascending");
    this.draw();
  }

  draw() {
    const data = this.source.data;
    const links = Array.from(data.link);
    const order = links.map((_, place) => place);
    if (this.by !== null) {
      const values = data[this.by];
      const first = links.length && !links[0] && links.some(Boolean) ? order.splice(0, 1) : [];  // the sum of all stays on top
      order.sort((a, b) => {
        const [x, y] = [values[a], values[b]];
        const found = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : (x ?? -1) - (y ?? -1);
        return this.down ? -found : found;
      });
      order.unshift(...first);
    }
    const body = this.element.tBodies[0];
    while (body.rows.length > Math.max(1, order.length)) body.deleteRow(-1);
    order.forEach((place, at) => this.fill(body.rows[at] ?? body.insertRow(), data, place, links));
    if (!order.length) this.fillNone(body.rows[0] ?? body.insertRow());
  }

  // What is as it was stays: somebody may be about to click on it, or mark it.
  fill(row, data, place, links) {
    const link = links[place];
    row.className = link ? "leads" : links.some(Boolean) ? "sum" : "";
    row.onclick = link ? () => follow(link) : null;
    this.heads.forEach(({ dataset }, number) => {
      const value = data[dataset.column][place];
      const said = `${value}\n${number ? "" : link}`;
      if (row.cells[number]?.said === said) return;
      const made = cell(dataset.form, value);
      made.said = said;
      if (link && number === 0) {
        const anchor = document.createElement("a");
        anchor.href = root + link + location.search;
        anchor.append(...made.childNodes);
        made.append(anchor);
      }
      if (row.cells[number]) row.cells[number].replaceWith(made);
      else row.append(made);
    });
  }

  fillNone(row) {
    const none = document.createElement("td");
    none.colSpan = this.heads.length;
    none.textContent = "There is nothing.";
    row.className = "";
    row.onclick = null;
    row.replaceChildren(none);
  }
}

// ---------------------------------------------------------------- clicks

function follow(link) {
  if (String(getSelection())) return;  // somebody marks text
  if (self === top) location.href = root + link + location.search;
  else open(root + link + location.search);
}

function listen(source) {
  source.selected.properties.indices.change.connect(() => {
    const [place] = source.selected.indices;
    const link = place === undefined ? "" : source.data.link[place];
    if (link) follow(link);
  });
}

// ---------------------------------------------------------------- documents

const here = location.pathname.replace(/\/+$/, "");
const loaded = new Promise((resolve) => addEventListener("DOMContentLoaded", resolve));

async function ask(path) {
  const query = new URLSearchParams(location.search);
  if (!query.has("scheme")) query.set("scheme", dark.matches ? "dark" : "light");
  const answer = await fetch(`${path}?${query}`);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

// The document of the page, or of another whose plots have a place on this one; BokehJS is read while it is made.
async function openDocument(path) {
  let asked = ask(`${path}/session`);
  await asked;
  const answered = performance.now();
  await loaded;
  if (performance.now() - answered > LATE_MS) asked = ask(`${path}/session`);
  const { token, roots } = await asked;
  const ids = Object.values(roots);
  const elements = {};
  for (const [name, id] of Object.entries(roots)) elements[id] = document.getElementById(name.split(":")[0]);
  await Bokeh.embed.embed_items({}, [{ token, roots: elements, root_ids: ids }], path);
  const made = Bokeh.documents.find((each) => each.roots().some((model) => ids.includes(model.id)));
  if (!made) throw new Error("the websocket cannot be opened: a proxy may not let it through");
  for (const source of made._all_models.values()) {
    if (source.type !== "ColumnDataSource") continue;
    if (source.tags.includes("leads")) listen(source);
    const [name, part] = (source.name ?? "").split(":");
    if (part === "rows") new Table(document.getElementById(name), source);
  }
  made.on_event("connection_lost", () => comeBack());
}

let lost = false;

function comeBack() {
  say("no answer: the cluster may have closed", true);
  if (lost) return;
  lost = true;
  tryAgain();
}

async function tryAgain() {
  try {
    const answer = await fetch(`${root}health`);
    if (answer.ok) { location.reload(); return; }
    throw new Error(answer.statusText);
  } catch {
    setTimeout(tryAgain, AGAIN_MS);
  }
}

function stumble(error) {
  say(error instanceof TypeError ? "no answer: the cluster may have closed" : error.message, true);
  setTimeout(comeBack, AGAIN_MS);
}

for (const list of document.querySelectorAll(".tabs")) {
  const tabs = [...list.children];
  const opened = new Set(tabs.slice(0, 1));
  const choose = (chosen) => {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
    }
    if (opened.has(chosen)) return;
    opened.add(chosen);
    const alone = chosen.id.replace(/^tab-/, "individual-");
    openDocument(new URL(root + alone, location.href).pathname).catch(stumble);
  };
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (!step) return;
      const next = tabs[(place + step + tabs.length) % tabs.length];
      choose(next);
      next.focus();
    });
  });
}

addEventListener("beforeunload", () => say("…"));
dark.addEventListener("change", () => location.reload());
openDocument(here).then(() => {
  document.body.dataset.drawn = performance.now();
  say("live");
}).catch(stumble);
