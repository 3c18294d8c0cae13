/**
 * Resize an image as `tlkit predict` does, so that the network sees the same pixels.
 *
 * A canvas would resize otherwise, and differently in each browser. The rule is Pillow's, as tlkit uses it: a JPEG of at
 * least four times the wanted size is averaged to 1/2, 1/4 or 1/8; what is still at least four times as large is averaged
 * over whole blocks; the rest is an antialiased bicubic filter (a = -0.5). Values are rounded to 8 bits after each step.
 */

const CHANNELS = 3; // of everything but a band from a canvas, which has four
const BAND_PIXELS = 1 << 21; // read from the canvas at once: a phone has no memory for the whole of a large photo
const SUPPORT = 2; // half the width of the filter, in pixels of the smaller image
const BITS = 22; // of the fraction in a weight

/**
 * @param {(top: number, rows: number) => Uint8ClampedArray} readBand Gives whole rows as RGBA, opaque.
 * @param {number} width Width of the image.
 * @param {number} height Height of the image.
 * @param {[number, number]} target Wanted (height, width).
 * @param {boolean} isJpeg Whether the file is a JPEG.
 * @returns {Uint8Array} RGB, target height x target width x 3.
 */
export function resized(readBand, width, height, target, isJpeg) {
  const [rows, columns] = target;
  const scale = isJpeg ? jpegScale(width, height, rows, columns) : 1;
  let [wide, high] = [Math.ceil(width / scale), Math.ceil(height / scale)];
  const [across, down] = [wholeFactor(wide, columns), wholeFactor(high, rows)];
  const box = [wide / across, high / down]; // the last block of a row or column may be a part of one
  let pixels = averagedInBands(readBand, width, height, scale > 1 ? [scale, scale] : [across, down]);
  if (scale > 1) pixels = averaged(pixels, CHANNELS, wide, high, across, down);
  [wide, high] = [Math.ceil(box[0]), Math.ceil(box[1])];
  const [horizontal, vertical] = [filter(wide, box[0], columns), filter(high, box[1], rows)];
  if (high > rows && high - rows > 2 * (wide - columns)) { // so Pillow decides since version 13
    return filteredAcross(filteredDown(pixels, wide, rows, vertical), rows, wide, columns, horizontal);
  }
  return filteredDown(filteredAcross(pixels, high, wide, columns, horizontal), columns, rows, vertical);
}

/** The reduced scale at which a JPEG is decoded: the result is at least twice as large as wanted. */
function jpegScale(width, height, rows, columns) {
  const most = Math.min(Math.floor(width / (2 * columns)), Math.floor(height / (2 * rows)));
  return [8, 4, 2].find((scale) => most >= scale) ?? 1;
}

function wholeFactor(size, wanted) {
  return Math.max(1, Math.floor(size / wanted / 2));
}

function averagedInBands(readBand, width, height, [across, down]) {
  const line = Math.ceil(width / across) * CHANNELS;
  const found = new Uint8Array(line * Math.ceil(height / down));
  const rows = Math.max(1, Math.floor(BAND_PIXELS / width / down)) * down;
  for (let top = 0; top < height; top += rows) {
    const count = Math.min(rows, height - top);
    found.set(averaged(readBand(top, count), 4, width, count, across, down), (top / down) * line);
  }
  return found;
}

/** Averages of blocks, rounded as Pillow does; blocks at the right and bottom edge may be smaller. */
function averaged(pixels, channels, width, height, across, down) {
  const columns = Math.ceil(width / across);
  const found = new Uint8Array(columns * Math.ceil(height / down) * CHANNELS);
  let at = 0;
  for (let top = 0; top < height; top += down) {
    const bottom = Math.min(height, top + down);
    for (let left = 0; left < width; left += across) {
      const right = Math.min(width, left + across);
      const count = (bottom - top) * (right - left);
      const share = Math.floor(2 ** 24 / count);
      let [red, green, blue] = [count >> 1, count >> 1, count >> 1];
      for (let y = top; y < bottom; y++) {
        for (let from = (y * width + left) * channels, x = left; x < right; x++, from += channels) {
          red += pixels[from];
          green += pixels[from + 1];
          blue += pixels[from + 2];
        }
      }
      found[at++] = Math.floor((red * share) / 2 ** 24);
      found[at++] = Math.floor((green * share) / 2 ** 24);
      found[at++] = Math.floor((blue * share) / 2 ** 24);
    }
  }
  return found;
}

function bicubic(x) {
  const away = Math.abs(x);
  if (away < 1) return (1.5 * away - 2.5) * away * away + 1;
  if (away < 2) return ((-0.5 * away + 2.5) * away - 4) * away + 2;
  return 0;
}

/** For each wanted pixel the first source pixel and the weights from there, in fixed point. */
function filter(size, box, wanted) {
  const scale = box / wanted;
  const stretch = Math.max(scale, 1);
  const support = SUPPORT * stretch;
  return Array.from({ length: wanted }, (_, index) => {
    const centre = (index + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const after = Math.min(size, Math.trunc(centre + support + 0.5));
    const values = Array.from({ length: after - first }, (_, n) => bicubic((n + first - centre + 0.5) / stretch));
    const total = values.reduce((sum, value) => sum + value, 0);
    const weights = values.map((value) => Math.trunc((value / total) * (1 << BITS) + (value < 0 ? -0.5 : 0.5)));
    return { first, weights: Int32Array.from(weights) };
  });
}

function rounded(sum) {
  return Math.min(255, Math.max(0, sum >> BITS));
}

function filteredAcross(pixels, height, width, wanted, weighted) {
  const found = new Uint8Array(wanted * height * CHANNELS);
  let at = 0;
  for (let y = 0; y < height; y++) {
    for (const { first, weights } of weighted) {
      let [red, green, blue] = [1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1)];
      for (let n = 0, from = (y * width + first) * CHANNELS; n < weights.length; n++, from += CHANNELS) {
        red += weights[n] * pixels[from];
        green += weights[n] * pixels[from + 1];
        blue += weights[n] * pixels[from + 2];
      }
      found[at++] = rounded(red);
      found[at++] = rounded(green);
      found[at++] = rounded(blue);
    }
  }
  return found;
}

function filteredDown(pixels, width, wanted, weighted) {
  const line = width * CHANNELS;
  const found = new Uint8Array(line * wanted);
  let at = 0;
  for (const { first, weights } of weighted) {
    for (let x = 0; x < line; x++) {
      let sum = 1 << (BITS - 1);
      for (let n = 0, from = first * line + x; n < weights.length; n++, from += line) sum += weights[n] * pixels[from];
      found[at++] = rounded(sum);
    }
  }
  return found;
}
