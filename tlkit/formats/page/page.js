/** The page: takes images, hands them to the worker, shows its answers. Names are only ever set as text. */

"use strict";

const TOP = 5; // classes shown
const element = (id) => document.getElementById(id);
const status = element("status");
const waiting = new Map(); // id to {file, item}
let classes = [];
let count = 0;
let done = 0;
let next = 0;
let worker;

if (location.protocol === "file:") {
  fail("A browser loads this page only from a server. In its folder, run: python -m http.server");
} else {
  start();
}

function start() {
  worker = new Worker("worker.js");
  worker.onmessage = ({ data }) => {
    if (data.ready) show(data.ready);
    else if (data.failed) fail(`The classifier cannot be loaded: ${data.failed}`);
    else answered(data);
  };
  worker.onerror = (event) => fail(`The classifier cannot be loaded: ${event.message || "worker.js is missing"}`);
}

function fail(message) {
  status.textContent = message;
  status.className = "problem";
}

function show(card) {
  classes = card.classes;
  const [height, width] = card.input.size;
  document.title = card.source.name.replace(/\.tlkit$/, "");
  element("title").textContent = document.title;
  element("about").textContent =
    `Recognises ${number(classes.length, "class", "classes")}. Your images stay on this device.`;
  element("unknown-note").textContent = card.known
    ? "“Unknown” marks images that are unlike those the classifier was trained on."
    : "This page cannot tell unknown images: every image gets one of the classes.";
  element("details").textContent =
    `Made with tlkit ${card.tlkit}. Network: ${card.precision}, ${width} × ${height} pixels. ` +
    "Images are resized as in training.";
  status.textContent = "Ready.";
  element("drop").hidden = false;
  listen();
}

function listen() {
  for (const id of ["files", "camera"]) {
    element(id).addEventListener("change", ({ target }) => {
      add(target.files);
      target.value = ""; // so that the same file can be chosen again
    });
  }
  const drop = element("drop");
  addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const { files } = event.dataTransfer;
    if (files.length) add(files);
    else status.textContent = "Only image files can be dropped here, such as those of a folder or the desktop.";
  });
  addEventListener("paste", (event) => {
    const { files } = event.clipboardData;
    if (files.length) add(files);
    else status.textContent = "There is no image on the clipboard.";
  });
  element("clear").addEventListener("click", () => {
    element("results").replaceChildren();
    waiting.clear();
    [count, done] = [0, 0];
    element("clear").hidden = true;
    status.textContent = "Cleared.";
    element("files").focus();
  });
}

function add(files) {
  const list = element("results");
  for (const file of files) {
    const item = made("li", "result");
    item.append(made("span", "blank"), made("h2", "", "Waiting…"), made("p", "soft", file.name));
    list.prepend(item);
    waiting.set(++next, { file, item });
    count++;
    worker.postMessage({ id: next, file });
  }
  element("clear").hidden = false;
  tell();
}

function answered({ id, error, probabilities, unknown, score, thumbnail }) {
  const found = waiting.get(id);
  if (!found) return; // cleared in the meantime
  waiting.delete(id);
  done++;
  const { file, item } = found;
  if (error) {
    item.replaceChildren(made("span", "blank"), made("h2", "", "No result"), made("p", "soft", file.name), made("p", "warning", error));
    tell(`${file.name}: ${error}`);
    return;
  }
  const best = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, TOP);
  const [label, confidence] = [classes[best[0]], percent(probabilities[best[0]])];
  item.replaceChildren(picture(thumbnail, file.name), made("h2", "", `${label} (${confidence})`), made("p", "soft", file.name));
  if (unknown) item.append(made("p", "warning", "Unknown? Unlike the images it was trained on."));
  item.append(bars(best, probabilities));
  item.dataset.answer = JSON.stringify({ probabilities: [...probabilities], unknown, score });
  tell(`${file.name}: ${label}, ${confidence}${unknown ? ", perhaps unknown" : ""}.`);
}

function tell(news) {
  const open = count - done;
  status.className = "";
  status.textContent = open
    ? `Working: ${done} of ${number(count, "image")}.`
    : (count === 1 && news) || `Done: ${number(count, "image")}.`;
}

function bars(best, probabilities) {
  const list = made("ol", "bars");
  for (const index of best) {
    const fill = made("span");
    fill.style.width = `${100 * probabilities[index]}%`;
    const rail = made("div", "rail");
    rail.setAttribute("aria-hidden", "true");
    rail.append(fill);
    const row = made("li");
    row.append(made("span", "", classes[index]), made("span", "number", percent(probabilities[index])), rail);
    list.append(row);
  }
  return list;
}

function picture(thumbnail, name) {
  const canvas = made("canvas");
  canvas.width = thumbnail.width;
  canvas.height = thumbnail.height;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", name);
  canvas.getContext("bitmaprenderer").transferFromImageBitmap(thumbnail);
  return canvas;
}

function made(name, kind = "", text = "") {
  const found = document.createElement(name);
  found.className = kind;
  found.textContent = text;
  return found;
}

function percent(share) {
  return `${(100 * share).toFixed(1)}%`;
}

function number(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}
