"use strict";

const POINTS = 60; // of a sparkline: a minute, or longer with very many ports
const ROWS = 50; // of a page of the table; ten thousand at once would be too much for a browser
const RETRY_MS = 2000;
const KINDS = ["packets", "bytes", "connections"];
const THEMES = ["auto", "light", "dark"];
const SVG = "http://www.w3.org/2000/svg";
const TOKEN = new URLSearchParams(location.search).get("token");

const byId = (id) => document.getElementById(id);
const body = document.querySelector("tbody");
const shown = new Map(); // the rows in the table, by their ports' names
let ports = new Map();
let sorting = { key: "endpoint", down: false };
let page = 0;
let paused = false;
let asking = null;
let retry = 0;

// What comes: see Board in board.py.

function take(line) {
  const said = JSON.parse(line);
  if (said.ports) replacePorts(said.ports);
  if (said.figures) move(said.figures);
  tell(said.trouble ? `no samples: ${said.trouble}` : "live");
  if (!paused) draw();
}

function replacePorts(found) {
  const before = ports;
  ports = new Map();
  for (const [name, binding] of Object.entries(found)) {
    ports.set(name, before.get(name) ?? newPort(name, binding));
  }
}

function newPort(name, binding) {
  const port = {
    name,
    endpoint: binding.endpoint,
    network: binding.network,
    host: binding.host_port ? `${joined(binding.host_ip, binding.host_port)}/${binding.proto}` : "",
    hostPort: binding.host_port,
    container: joined(binding.container_ip, binding.container_port),
    path: binding.path,
    created: binding.created,
    figures: [0, 0, 0, 0, 0, 0],
    history: null,
  };
  port.text = [port.host, port.endpoint, port.network, port.container, port.path]
    .join(" ").toLowerCase();
  return port;
}

function joined(ip, port) {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function move(figures) {
  for (const [name, port] of ports) {
    const now = figures[name];
    port.figures = now ?? [0, 0, 0, ...port.figures.slice(3)];
    const moves = now && (now[0] || now[1] || now[2]);
    if (!port.history && !moves) continue; // most ports are still, and need no memory
    port.history ??= KINDS.map(() => new Array(POINTS).fill(0));
    port.history.forEach((points, kind) => {
      points.shift();
      points.push(port.figures[kind]);
    });
  }
}

// What is shown.

function draw() {
  const found = matching();
  const pages = Math.max(1, Math.ceil(found.length / ROWS));
  page = Math.min(page, pages - 1);
  const rows = found.slice(page * ROWS, (page + 1) * ROWS);
  drawRows(rows);
  drawTotals();
  setText(byId("count"), `${found.length} of ${ports.size} ports`);
  setText(byId("pages"), `Page ${page + 1} of ${pages}`);
  byId("previous").disabled = page === 0;
  byId("next").disabled = page === pages - 1;
}

function matching() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [...ports.values()].filter((port) => words.every((word) => port.text.includes(word)));
  return found.sort(compare);
}

function compare(one, other) {
  const { key, down } = sorting;
  const kind = KINDS.indexOf(key);
  let order;
  if (kind >= 0) order = one.figures[kind] - other.figures[kind];
  else if (key === "host") order = one.hostPort - other.hostPort;
  else order = one[key] < other[key] ? -1 : Number(one[key] > other[key]);
  if (down) order = -order;
  return order || one.hostPort - other.hostPort || (one.name < other.name ? -1 : 1);
}

function drawRows(rows) {
  const names = new Set(rows.map((port) => port.name));
  for (const [name, row] of shown) {
    if (!names.has(name)) {
      row.element.remove();
      shown.delete(name);
    }
  }
  rows.forEach((port, index) => {
    if (!shown.has(port.name)) shown.set(port.name, newRow(port));
    const row = shown.get(port.name);
    if (body.children[index] !== row.element) body.insertBefore(row.element, body.children[index]);
    row.cells.forEach((cell, kind) => drawCell(cell, kind, port));
  });
}

function newRow(port) {
  const element = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = port.host || "routed";
  element.title = `published ${port.created}`;
  element.append(head);
  for (const key of ["endpoint", "network", "container", "path"]) {
    const cell = document.createElement("td");
    cell.textContent = port[key];
    element.append(cell);
  }
  const cells = KINDS.map(newCell);
  element.append(...cells.map((cell) => cell.element));
  return { element, cells };
}

function newCell(kind) {
  const element = document.createElement("td");
  element.className = kind;
  const figures = document.createElement("div");
  figures.className = "figures";
  const [words, rate, total] = ["span", "span", "small"].map((tag) => document.createElement(tag));
  words.append(rate, total);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${POINTS - 1} 20`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true"); // the figure beside it says the same
  const [area, line] = ["polygon", "polyline"].map((tag) => document.createElementNS(SVG, tag));
  svg.append(area, line);
  figures.append(words, svg);
  element.append(figures);
  return { element, rate, total, area, line };
}

function drawCell(cell, kind, port) {
  setText(cell.rate, `${amount(port.figures[kind], kind)}/s`);
  setText(cell.total, `${amount(port.figures[kind + 3], kind)} in all`);
  const points = port.history ? port.history[kind] : [0, 0];
  const most = Math.max(...points) || 1;
  const step = (POINTS - 1) / (points.length - 1);
  const line = points.map((each, index) => {
    return `${+(index * step).toFixed(2)},${(19 - (each / most) * 18).toFixed(1)}`;
  }).join(" ");
  if (cell.line.getAttribute("points") === line) return;
  cell.line.setAttribute("points", line);
  cell.area.setAttribute("points", `0,20 ${line} ${POINTS - 1},20`);
}

function drawTotals() {
  const sums = KINDS.map((_, kind) => {
    let sum = 0;
    for (const port of ports.values()) sum += port.figures[kind];
    return sum;
  });
  const said = KINDS.map((name, kind) => {
    return `${amount(sums[kind], kind)}${kind === 1 ? "" : ` ${name}`}/s`;
  });
  setText(byId("totals"), said.join(" · "));
}

function amount(count, kind) {
  const units = kind === 1 ? [" B", " kB", " MB", " GB", " TB", " PB"] : ["", "k", "M", "G", "T", "P"];
  let unit = 0;
  for (; count >= 999.5 && unit < units.length - 1; unit++) count /= 1000;
  const digits = count < 9.95 && !Number.isInteger(count) ? count.toFixed(1) : count.toFixed(0);
  return digits + units[unit];
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function tell(state) {
  setText(byId("state"), paused ? "paused" : state);
}

// Asking: one stream, while the page is seen.

async function ask() {
  asking = new AbortController();
  try {
    const answer = await fetch("samples", {
      headers: { Authorization: `Bearer ${TOKEN}` },
      cache: "no-store",
      signal: asking.signal,
    });
    if (!answer.ok) return tell("refused: run `hostports ui` again, and open what it prints");
    await read(answer.body.pipeThrough(new TextDecoderStream()).getReader());
  } catch (error) {
    if (error.name === "AbortError") return;
  }
  tell("ended: run `hostports ui` again");
  retry = setTimeout(attend, RETRY_MS);
}

async function read(reader) {
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (waiting + value).split("\n");
    waiting = lines.pop();
    lines.forEach(take);
  }
}

function attend() {
  asking?.abort();
  clearTimeout(retry);
  if (document.hidden) return;
  for (const port of ports.values()) port.history = null; // there is a gap
  ask();
}

// What people do.

function sortBy(key) {
  const down = KINDS.includes(key);
  sorting = { key, down: sorting.key === key ? !sorting.down : down };
  page = 0;
  markSorting();
  draw();
}

function markSorting() {
  for (const button of document.querySelectorAll("[data-sort]")) {
    const head = button.closest("th");
    if (button.dataset.sort !== sorting.key) head.removeAttribute("aria-sort");
    else head.setAttribute("aria-sort", sorting.down ? "descending" : "ascending");
  }
}

function turnTo(number) {
  page = number;
  draw();
}

function setTheme(theme) {
  const chosen = THEMES.includes(theme) ? theme : "auto";
  document.documentElement.dataset.theme = chosen;
  setText(byId("theme"), `Theme: ${chosen}`);
  localStorage.setItem("theme", chosen);
}

function setPaused(value) {
  paused = value;
  byId("pause").setAttribute("aria-pressed", String(paused));
  tell("live");
  draw();
}

function nextTheme() {
  const now = THEMES.indexOf(document.documentElement.dataset.theme);
  setTheme(THEMES[(now + 1) % THEMES.length]);
}

function findByKey(event) {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === byId("search")) return;
  event.preventDefault();
  byId("search").focus();
}

for (const button of document.querySelectorAll("[data-sort]")) {
  button.addEventListener("click", () => sortBy(button.dataset.sort));
}
byId("search").addEventListener("input", () => turnTo(0));
byId("finding").addEventListener("submit", (event) => event.preventDefault());
byId("previous").addEventListener("click", () => turnTo(page - 1));
byId("next").addEventListener("click", () => turnTo(page + 1));
byId("theme").addEventListener("click", nextTheme);
byId("pause").addEventListener("click", () => setPaused(!paused));
document.addEventListener("keydown", findByKey);
document.addEventListener("visibilitychange", attend);
setTheme(localStorage.getItem("theme"));
markSorting();
attend();
