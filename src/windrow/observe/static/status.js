// Asks for the facts once a second while the page is looked at, and draws them.
"use strict";

const STATES = ["released", "waiting", "queued", "processing", "memory", "erred"];
const PERIOD_MS = 1000;
const byId = (id) => document.getElementById(id);
const count = (n) => n.toLocaleString("en");

function size(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let place = 0;
  while (n >= 1024 && place < units.length - 1) { n /= 1024; place += 1; }
  return `${place ? n.toFixed(1) : n.toFixed(0)} ${units[place]}`;
}

function element(name, content = "", kind = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (content instanceof Node) made.append(content); else made.textContent = content;
  return made;
}

function bar(parts) {
  const made = element("span", "", "bar");
  for (const [kind, share, title] of parts) {
    const part = element("span", "", kind);
    part.style.width = `${(100 * Math.min(1, share)).toFixed(2)}%`;
    if (title) part.title = title;
    made.append(part);
  }
  return made;
}

function withBar(parts, text) {
  const made = element("span", "", "with-bar");
  made.append(bar(parts), element("span", text));
  return made;
}

function link(folder, name) {
  const made = element("a", name);
  made.href = `info/${folder}/${encodeURIComponent(name)}.html${location.search}`;
  return made;
}

function workerRow(worker) {
  const row = element("tr");
  const cpu = worker.cpu === null ? 0 : worker.cpu / worker.nthreads;
  const used = worker.memory_limit ? worker.memory / worker.memory_limit : 0;
  const limit = worker.memory_limit ? size(worker.memory_limit) : "no limit";
  row.append(
    element("td", worker.name),
    element("td", link("worker", worker.address)),
    element("td", worker.status),
    element("td", count(worker.nthreads), "n"),
    element("td", withBar([["cpu", cpu]], worker.cpu === null ? "–" : `${(100 * worker.cpu).toFixed(0)} %`)),
    element("td", withBar([[used > 0.7 ? "high" : "bytes", used]], `${size(worker.memory)} of ${limit}`)),
    element("td", count(worker.processing), "n"),
    element("td", `${count(worker.stored)} (${size(worker.stored_bytes)})`, "n"),
  );
  return row;
}

function taskRow(task) {
  const row = element("tr");
  const total = STATES.reduce((sum, state) => sum + task[state], 0);
  const parts = ["released", "memory", "erred", "processing"].map((state) => [state, task[state] / total, `${state}: ${count(task[state])}`]);
  const done = (task.released + task.memory + task.erred) / total;
  row.append(
    element("td", task.prefix),
    element("td", withBar(parts, `${Math.floor(100 * done)} %`)),
    element("td", count(total), "n"),
    ...STATES.map((state) => element("td", count(task[state]), "n")),
  );
  return row;
}

function fill(id, rows, none) {
  const body = byId(id).tBodies[0];
  if (!rows.length) {
    const row = element("tr");
    const cell = element("td", none);
    cell.colSpan = byId(id).tHead.rows[0].cells.length;
    row.append(cell);
    rows = [row];
  }
  body.replaceChildren(...rows);
}

function tile(name, text) {
  const made = element("div");
  made.append(element("dt", name), element("dd", text));
  return made;
}

function draw(facts) {
  const totals = facts.totals;
  const limit = facts.totals.memory_limit ? ` of ${size(facts.totals.memory_limit)}` : "";
  byId("address").textContent = facts.address;
  byId("totals").replaceChildren(
    tile("Workers", count(totals.workers)),
    tile("Threads", count(totals.cores)),
    tile("CPU", `${(100 * totals.cpu).toFixed(0)} %`),
    tile("Memory", `${size(totals.memory_used)}${limit}`),
    tile("Results", size(totals.bytes)),
    tile("Tasks", count(totals.tasks)),
    tile("Clients", count(totals.clients)),
  );
  fill("workers", facts.workers.map(workerRow), "There is none.");
  fill("tasks", facts.tasks.map(taskRow), facts.counted_ago === null ? "They are being counted." : "There are none.");
  const old = facts.counted_ago !== null && facts.counted_ago >= 2;
  byId("counted").textContent = old ? `as they were ${facts.counted_ago.toFixed(0)} s ago` : "";
}

function say(text, lost) {
  byId("state").textContent = text;
  byId("state").className = lost ? "lost" : "";
}

async function look() {
  if (!document.hidden) {
    try {
      const answer = await fetch(`json/status.json${location.search}`);
      if (!answer.ok) throw new Error(await answer.text());
      draw(await answer.json());
      say("live");
    } catch (error) {
      say(error instanceof TypeError ? "no answer: the cluster may have closed" : error.message, true);
    }
  }
  setTimeout(look, PERIOD_MS);
}

look();
