/**
 * Runs the classifier beside the page, so that the page stays responsive.
 *
 * Takes {id, file}; gives {ready: model.json} or {failed} once, then {id, ...answer} or {id, error} for each file.
 */

"use strict";

const THUMBNAIL = 192; // pixels of the longer side

const opened = open();
opened.then(
  ({ card }) => postMessage({ ready: card }),
  (error) => postMessage({ failed: String(error?.message ?? error) }),
);

let last = Promise.resolve(); // one file after another: a network holds one image at a time

onmessage = ({ data: { id, file } }) => {
  last = last.then(async () => {
    try {
      const answer = await classified(await opened, file);
      postMessage({ id, ...answer }, [answer.thumbnail]);
    } catch (error) {
      postMessage({ id, error: error instanceof Unreadable ? error.message : `The classifier failed: ${error.message}` });
    }
  });
};

class Unreadable extends Error {}

async function open() {
  const [runtime, { resized }, { readStatistics, unknownScore }, card] = await Promise.all([
    import("./litert/index.js"),
    import("./resize.js"),
    import("./unknown.js"),
    fetched("model.json").then((answer) => answer.json()),
  ]);
  const folder = new URL("litert/wasm/", self.location.href).href;
  self.Module = { locateFile: (name) => folder + name }; // LiteRT.js would look beside this script
  const [bytes, known] = await Promise.all([
    fetched("model.tflite").then((answer) => answer.arrayBuffer()),
    card.known && fetched("known.bin").then((answer) => answer.arrayBuffer()),
    runtime.loadLiteRt(folder),
  ]);
  const model = await runtime.loadAndCompile(new Uint8Array(bytes), { accelerator: "wasm" });
  const statistics = known && readStatistics(known, card.known);
  return { card, model, resized, statistics, unknownScore, Tensor: runtime.Tensor };
}

async function fetched(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name} cannot be loaded (status ${answer.status})`);
  return answer;
}

async function classified({ card, model, resized, statistics, unknownScore, Tensor }, file) {
  const bitmap = await decoded(file);
  const { width, height } = bitmap;
  let pixels, thumbnail;
  try {
    pixels = resized(bands(bitmap), width, height, card.input.size, await isJpeg(file));
    thumbnail = await reduced(bitmap);
  } finally {
    bitmap.close();
  }
  const input = new Tensor(Float32Array.from(pixels), [1, ...card.input.size, 3]);
  const outputs = await model.run([input]);
  const [probabilities, features] = outputs.map((each) => each.toTypedArray().slice());
  for (const each of [input, ...outputs]) each.delete();
  if (!probabilities.every(Number.isFinite)) throw new Error("its output is not a number");
  const score = statistics ? unknownScore(features, statistics) : null;
  const unknown = score === null ? null : !(score <= card.known.threshold);
  return { probabilities, unknown, score, thumbnail };
}

async function decoded(file) {
  try {
    // pixels as stored, without colour profiles, and upright, as in training
    const how = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };
    return await createImageBitmap(file, how);
  } catch {
    throw new Unreadable("This browser cannot read the file as an image.");
  }
}

async function isJpeg(file) {
  const [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  return first === 0xff && second === 0xd8;
}

/** A function that gives rows of an image as RGBA, laid over white. */
function bands(bitmap) {
  let canvas, context;
  return (top, rows) => {
    if (canvas?.height !== rows) {
      canvas = new OffscreenCanvas(bitmap.width, rows);
      context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    }
    context.fillStyle = "white";
    context.fillRect(0, 0, bitmap.width, rows);
    context.drawImage(bitmap, 0, -top);
    return context.getImageData(0, 0, bitmap.width, rows).data;
  };
}

async function reduced(bitmap) {
  const scale = Math.min(1, THUMBNAIL / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.ceil(bitmap.width * scale), Math.ceil(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.transferToImageBitmap();
}
