/** The page of tlkit review: shows images in doubt and sends decisions. Names are only ever set as text. */

"use strict";

const KEYS = 9; // classes that have a digit of their own
const element = (id) => document.getElementById(id);
const token = location.hash.slice(1);
const pictures = new Map(); // addresses of images that were fetched
let state;
let at = 0;
let busy = Promise.resolve();

start();

async function start() {
  try {
    await load();
  } catch (error) {
    say(error.message, true);
    return;
  }
  document.title = `Review of ${state.name}`;
  element("title").textContent = document.title;
  element("kept").textContent = state.decisions;
  makeClasses();
  const first = state.items.findIndex((item) => isOpen(item));
  at = first < 0 ? 0 : first;
  say(state.items.length ? "" : "There is nothing to review.");
  show();
}

async function ask(path, body) {
  const options = { headers: { Authorization: `Bearer ${token}` } };
  if (body !== undefined) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The review has ended: start tlkit review again.");
  }
  if (answer.ok) return answer;
  const found = await answer.json().catch(() => ({}));
  throw new Error([found.error ?? `error ${answer.status}`, found.hint].filter(Boolean).join("; "));
}

async function load() {
  state = await (await ask("items")).json();
}

function isOpen(item) {
  return !item.decision || item.decision.what === "conflict";
}

function say(text, isProblem = false) {
  const status = element("status");
  status.className = isProblem ? "problem" : "";
  status.textContent = text;
}

function makeClasses() {
  const few = state.classes.slice(0, KEYS);
  element("classes").replaceChildren(
    ...few.map((name, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(name, key(String(index + 1)));
      button.addEventListener("click", () => decide("label", name));
      button.dataset.name = name;
      return button;
    }),
  );
  element("search").hidden = state.classes.length <= KEYS;
  element("names").replaceChildren(...state.classes.map((name) => new Option(name, name)));
}

function key(text) {
  const found = document.createElement("kbd");
  found.textContent = text;
  return found;
}

function show() {
  const item = state.items[at];
  element("card").hidden = !item;
  counts();
  if (!item) return;
  element("place").textContent = `${at + 1} of ${state.items.length}`;
  element("file").textContent = item.file;
  element("label").textContent = `Labelled ${item.label}`;
  element("why").textContent = sentence(item);
  element("decided").textContent = said(item);
  const current = item.decision?.what === "label" ? item.decision.label : item.label;
  for (const button of element("classes").children) {
    button.setAttribute("aria-pressed", String(button.dataset.name === current));
  }
  element("exclude").setAttribute("aria-pressed", String(item.decision?.what === "exclude"));
  bars(item);
  picture(element("image"), item.file, `${item.file}, labelled ${item.label}`);
  element("seen-figure").hidden = true;
  element("explain").hidden = !state.explains || !item.top.length;
  element("copies").replaceChildren(
    ...item.copies.map(({ file, label }) => {
      const figure = document.createElement("figure");
      const image = document.createElement("img");
      const caption = document.createElement("figcaption");
      caption.className = "soft";
      caption.textContent = `Copy: ${file}, labelled ${label}`;
      figure.append(image, caption);
      picture(image, file, caption.textContent);
      return figure;
    }),
  );
}

function sentence(item) {
  const why = item.why[0].toUpperCase() + item.why.slice(1);
  return item.looks_like && item.looks_like !== item.label ? `${why}: it looks like ${item.looks_like}.` : `${why}.`;
}

function said(item) {
  const its = item.decision;
  if (!its) return "";
  const by = its.by ? ` (by ${its.by})` : "";
  if (its.what === "label") return its.label === item.label ? `Kept as ${its.label}${by}` : `Now ${its.label}${by}`;
  if (its.what === "conflict") return `Decide: ${its.said.map(([who, what]) => `${who} says ${what}`).join("; ")}`;
  return its.what === "exclude" ? `Excluded${by}` : "Skipped";
}

function bars(item) {
  element("top").replaceChildren(
    ...item.top.map(({ label, probability }) => {
      const line = document.createElement("li");
      const [name, number, rail, bar] = ["span", "span", "span", "span"].map((tag) => document.createElement(tag));
      name.textContent = label;
      number.textContent = `${(100 * probability).toFixed(1)}%`;
      number.className = "number";
      rail.className = "rail";
      bar.style.width = `${100 * probability}%`;
      rail.append(bar);
      line.append(name, number, rail);
      return line;
    }),
  );
}

async function picture(image, file, alt, label) {
  const address = `image?${new URLSearchParams(label === undefined ? { file } : { file, label })}`;
  image.dataset.wanted = address;
  image.alt = alt;
  image.removeAttribute("src");
  try {
    if (!pictures.has(address)) pictures.set(address, URL.createObjectURL(await (await ask(address)).blob()));
    if (pictures.size > 60) forget();
    if (image.dataset.wanted === address) image.src = pictures.get(address);
  } catch (error) {
    if (image.dataset.wanted === address) image.alt = `${alt}: ${error.message}`;
  }
}

function forget() {
  const oldest = pictures.keys().next().value;
  URL.revokeObjectURL(pictures.get(oldest));
  pictures.delete(oldest);
}

function counts() {
  const decided = state.items.map((item) => item.decision).filter(Boolean);
  const changed = state.items.filter((item) => item.decision?.what === "label" && item.decision.label !== item.label);
  const out = decided.filter((its) => its.what === "exclude").length;
  const open = state.items.filter(isOpen).length;
  element("counts").textContent = state.applied
    ? `Applied: ${result(state.applied)}. Press u to take it back.`
    : `${changed.length} to relabel, ${out} to exclude, ${open} not yet looked at.`;
  element("apply").disabled = Boolean(state.applied);
}

function result(its) {
  const where = its.output ? `written to ${its.output}` : "moved";
  return `${its.relabelled} relabelled, ${its.excluded} excluded, ${where}`;
}

/** Do one thing after another, however fast keys are pressed. */
function then(work) {
  busy = busy.then(work).catch((error) => say(error.message, true));
  return busy;
}

function decide(what, label = "") {
  return then(async () => {
    const item = state.items[at];
    if (!item) return;
    await ask("decide", { file: item.file, what, label });
    if (what !== "skip" || !item.decision) item.decision = { what, label, by: "", said: [] };
    say("");
    go(1);
  });
}

function go(by) {
  at = Math.min(Math.max(at + by, 0), Math.max(state.items.length - 1, 0));
  show();
}

function undo() {
  return then(async () => {
    const applied = state.applied;
    const { file } = await (await ask("undo", {})).json();
    await load();
    const place = state.items.findIndex((item) => item.file === file);
    if (place >= 0) at = place;
    say(applied ? "Taken back: everything is as it was." : file ? `Undone: ${file}` : "There is nothing to undo.");
    show();
  });
}

function apply() {
  return then(async () => {
    state.applied = await (await ask("apply", {})).json();
    say(`Applied: ${result(state.applied)}.`);
    counts();
  });
}

function done() {
  return then(async () => {
    await ask("done", {});
    element("card").hidden = true;
    element("end").hidden = true;
    say("The review has ended. This page can be closed.");
  });
}

function explain() {
  const item = state.items[at];
  if (!item || element("explain").hidden) return;
  const label = item.top[0].label;
  element("seen-figure").hidden = false;
  element("seen-of").textContent = `Where ${label} is seen (Grad-CAM): yellow most, dark blue least`;
  picture(element("seen"), item.file, `Where ${label} is seen`, label);
}

element("exclude").addEventListener("click", () => decide("exclude"));
element("skip").addEventListener("click", () => decide("skip"));
element("undo").addEventListener("click", undo);
element("explain").addEventListener("click", explain);
element("apply").addEventListener("click", apply);
element("done").addEventListener("click", done);
element("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = element("name");
  const typed = input.value.trim().toLowerCase();
  const hits = state.classes.filter((name) => name.toLowerCase().startsWith(typed));
  const exact = state.classes.filter((name) => name.toLowerCase() === typed);
  const found = exact.length === 1 ? exact : hits;
  if (!typed || found.length !== 1) {
    say(found.length ? `Several classes begin so: ${found.slice(0, 5).join(", ")}` : "There is no such class.", true);
    return;
  }
  input.value = "";
  input.blur();
  decide("label", found[0]);
});

const ACTIONS = {
  x: () => decide("exclude"),
  s: () => decide("skip"),
  u: undo,
  e: explain,
  a: apply,
  d: done,
  ArrowRight: () => go(1),
  ArrowLeft: () => go(-1),
};

addEventListener("keydown", (event) => {
  if (!state || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target instanceof HTMLInputElement) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (/^[1-9]$/.test(event.key) && state.classes[event.key - 1] !== undefined) {
    decide("label", state.classes[event.key - 1]);
  } else if (event.key === "/" && !element("search").hidden) {
    element("name").focus();
  } else if (ACTIONS[event.key]) {
    ACTIONS[event.key]();
  } else {
    return;
  }
  event.preventDefault();
});
