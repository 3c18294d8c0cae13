/** The page of tlkit serve: sends images to the server and shows its answers. Names are only ever set as text. */

"use strict";

const AT_ONCE = 3; // requests under way
const TRIES = 8; // of a request while the server has too much to do
const VIEW = 256; // pixels of the longer side of a small view
const element = (id) => document.getElementById(id);
const status = element("status");
const queue = []; // results that wait for their request
const rows = []; // answers of the server, in the order of the images
let info;
let count = 0;
let done = 0;
let running = 0;
let round = 0; // grows when the list is cleared: answers of an earlier one are not shown

start();

async function start() {
  let answer;
  try {
    answer = await fetch("info");
  } catch {
    fail("The server does not answer.");
    return;
  }
  element("login").hidden = answer.status !== 401;
  if (answer.status === 401) {
    status.textContent = "";
    element("token").focus();
    return;
  }
  if (!answer.ok) {
    fail(await reason(answer));
    return;
  }
  info = await answer.json();
  element("leave").hidden = !info.token;
  choose();
  element("drop").hidden = false;
  status.className = "";
  status.textContent = "Ready.";
}

function choose() {
  const select = element("model");
  select.replaceChildren(...info.models.map(({ name }) => new Option(name, name)));
  select.value = info.default;
  element("models").hidden = info.models.length < 2;
  describe();
}

function describe() {
  const model = info.models.find(({ name }) => name === element("model").value);
  document.title = model.name;
  element("title").textContent = model.name;
  element("about").textContent = `Recognises ${number(model.classes.length, "class", "classes")}: ${some(model.classes)}.`;
  element("unknown-note").textContent =
    model.unknown_rate === null
      ? "This classifier cannot tell unknown images: every image gets one of the classes."
      : "“Unknown” marks images that are unlike those the classifier was trained on.";
  element("details").textContent = `Made with tlkit ${model.tlkit}: ${model.backbone}, ${accuracy(model.metrics)}`;
}

function accuracy(metrics) {
  for (const [field, what] of [["test_accuracy", "test"], ["val_accuracy", "validation"], ["cv_accuracy", "training"]]) {
    const share = metrics?.[field];
    if (typeof share === "number") return `right on ${percent(share)} of the ${what} images.`;
  }
  return "accuracy not measured.";
}

function some(names) {
  return names.length > 8 ? `${names.slice(0, 8).join(", ")} and ${names.length - 8} more` : names.join(", ");
}

element("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = JSON.stringify({ token: element("token").value });
  const answer = await fetch("session", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  element("token").value = "";
  if (answer.ok) await start();
  else fail(answer.status === 401 ? "The token is wrong." : await reason(answer));
});

element("logout").addEventListener("click", async () => {
  await fetch("session", { method: "DELETE" });
  location.reload();
});

element("model").addEventListener("change", describe);

for (const id of ["files", "camera"]) {
  element(id).addEventListener("change", ({ target }) => {
    add(target.files);
    target.value = ""; // so that the same file can be chosen again
  });
}

addEventListener("dragover", (event) => {
  event.preventDefault();
  element("drop").classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) element("drop").classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  element("drop").classList.remove("over");
  take(event.dataTransfer, "Only image files can be dropped here, such as those of a folder or the desktop.");
});
addEventListener("paste", (event) => {
  if (event.target.matches("input")) return;
  take(event.clipboardData, "There is no image on the clipboard.");
});

function take(transfer, nothing) {
  if (!info) return;
  if (transfer.files.length) add(transfer.files);
  else status.textContent = nothing;
}

element("clear").addEventListener("click", () => {
  round++;
  element("results").replaceChildren();
  queue.length = rows.length = count = done = 0;
  element("tools").hidden = true;
  status.textContent = "Cleared.";
  element("files").focus();
});

element("save").addEventListener("click", () => {
  const link = made("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "labels.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
});

function csv() {
  const lines = [["file", "label", "probability", "unknown", "error"]];
  for (const row of rows.filter(Boolean)) {
    const share = row.probability === null ? "" : row.probability.toFixed(6);
    lines.push([row.file, row.label ?? "", share, row.unknown ?? "", row.error ?? ""]);
  }
  return lines.map((cells) => `${cells.map(cell).join(",")}\r\n`).join("");
}

/** A cell of CSV; a text that a spreadsheet would run as a formula gets an apostrophe in front, as tlkit predict does. */
function cell(value) {
  let text = String(value).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, " ");
  if (/^'*[=+\-@＝＋－＠]/.test(text) && !/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text)) text = `'${text}`;
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function add(files) {
  for (const file of files) {
    const item = made("li", "result");
    item.append(made("span", "blank"), made("h2", "", "Waiting…"), made("p", "soft", file.name));
    element("results").prepend(item);
    queue.push({ file, item, place: count++, model: element("model").value, round });
  }
  element("tools").hidden = false;
  tell();
  work();
}

function work() {
  while (running < AT_ONCE && queue.length) {
    running++;
    const job = queue.shift();
    answered(job).finally(() => {
      running--;
      work();
    });
  }
}

async function answered(job) {
  const row = await ask(job, false);
  if (job.round !== round) return;
  done++;
  rows[job.place] = { ...row, file: job.file.name };
  show(job, row);
}

/** Ask the server about an image; return its row, whose error says what went wrong. */
async function ask({ file, model }, explain) {
  const failed = (error) => ({ label: null, probability: null, top: [], unknown: null, error });
  if (file.size > info.limits.upload_bytes) return failed("The file is too large for this server.");
  const address = `predict?${new URLSearchParams({ model, ...(explain && { explain: 1 }) })}`;
  for (let attempt = 1; ; attempt++) {
    let answer;
    try {
      answer = await fetch(address, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file });
    } catch {
      return failed("The server does not answer, or the file cannot be read.");
    }
    if (answer.ok) return (await answer.json())[0];
    if (answer.status === 401) {
      element("login").hidden = false;
      return failed("The server asks for the token again.");
    }
    if (answer.status !== 503 || attempt === TRIES) return failed(await reason(answer));
    const seconds = Number(answer.headers.get("Retry-After")) || 1;
    await new Promise((resolve) => setTimeout(resolve, 1000 * Math.min(seconds, 10) * (0.5 + Math.random())));
  }
}

async function reason(answer) {
  try {
    const { error } = await answer.json();
    return `${error[0].toUpperCase()}${error.slice(1)}.`;
  } catch {
    return `The server answers ${answer.status}.`;
  }
}

function show(job, row) {
  const { file, item } = job;
  if (row.error) {
    item.replaceChildren(made("span", "blank"), made("h2", "", "No result"), made("p", "soft", file.name), made("p", "warning", row.error));
    tell(`${file.name}: ${row.error}`);
    return;
  }
  const share = percent(row.probability);
  item.replaceChildren(picture(file), made("h2", "", `${row.label} (${share})`), made("p", "soft", file.name));
  if (row.unknown) item.append(made("p", "warning", "Unknown? It is unlike the images in training."));
  item.append(bars(row.top), why(job));
  tell(`${file.name}: ${row.label}, ${share}${row.unknown ? ", perhaps unknown" : ""}.`);
}

/** A button that shows, once pressed, where in the image the class is seen. */
function why(job) {
  const button = made("button", "why", "Where is it seen?");
  button.type = "button";
  button.setAttribute("aria-label", `Where is it seen? ${job.file.name}`);
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = "Looking…";
    const row = await ask(job, true);
    if (!row.explanation) {
      button.replaceWith(made("p", "warning", row.error ?? "The classifier cannot show it."));
      return;
    }
    const image = made("img", "seen");
    image.src = row.explanation;
    image.alt = `${job.file.name}: the brighter, the more a place speaks for ${row.label}`;
    button.replaceWith(image);
  });
  return button;
}

function tell(news) {
  status.className = "";
  status.textContent =
    done < count ? `Working: ${done} of ${number(count, "image")}.` : (count === 1 && news) || `Done: ${number(count, "image")}.`;
}

function fail(message) {
  status.className = "problem";
  status.textContent = message;
}

function bars(top) {
  const list = made("ol", "bars");
  for (const { label, probability } of top) {
    const fill = made("span");
    fill.style.width = `${100 * probability}%`;
    const rail = made("div", "rail");
    rail.setAttribute("aria-hidden", "true");
    rail.append(fill);
    const row = made("li");
    row.append(made("span", "", label), made("span", "number", percent(probability)), rail);
    list.append(row);
  }
  return list;
}

/** A small view of an image, drawn as soon as it is decoded; a format that the browser cannot show stays empty. */
function picture(file) {
  const canvas = made("canvas");
  canvas.setAttribute("aria-hidden", "true");
  canvas.width = canvas.height = 0;
  createImageBitmap(file)
    .then((whole) => {
      const scale = Math.min(1, VIEW / Math.max(whole.width, whole.height));
      canvas.width = Math.max(1, Math.round(scale * whole.width));
      canvas.height = Math.max(1, Math.round(scale * whole.height));
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(whole, 0, 0, canvas.width, canvas.height);
      whole.close();
    })
    .catch(() => canvas.replaceWith(made("span", "blank")));
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
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}
