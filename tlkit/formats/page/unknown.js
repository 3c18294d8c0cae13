/**
 * Tell whether an image is unlike those that the classifier was trained on, as `tlkit predict` does: the sum of three
 * standardised distances of the network's features, against a threshold. tlkit's linear/ood.py explains the measures.
 */

/** The arrays in known.bin, in their order: name and number of values. */
function layout({ features, rank, classes }) {
  return [
    ["mean", features],
    ["scale", features],
    ["basis", rank * features],
    ["gain", rank],
    ["rest", 1],
    ["centre", features],
    ["means", classes * features],
    ["inner", classes * classes],
    ["typical", 6],
  ];
}

/**
 * @param {ArrayBuffer} buffer Contents of known.bin: float32, little-endian.
 * @param {{features: number, rank: number, classes: number}} sizes From model.json.
 * @returns {Object} The arrays by name, and the sizes.
 */
export function readStatistics(buffer, sizes) {
  const view = new DataView(buffer);
  const found = { ...sizes };
  let at = 0;
  for (const [name, count] of layout(sizes)) {
    const values = new Float32Array(count);
    for (let n = 0; n < count; n++, at += 4) values[n] = view.getFloat32(at, true);
    found[name] = values;
  }
  return found;
}

/**
 * @param {Float32Array} row The features of an image.
 * @param {ReturnType<typeof readStatistics>} known The statistics.
 * @returns {number} The score: around 0 for images like those in training, larger for others.
 */
export function unknownScore(row, known) {
  const { features, rank, classes, mean, scale, basis, gain, rest, centre, means, inner, typical } = known;
  const plain = Float64Array.from(row, (value, n) => (value - mean[n]) / scale[n]);
  const white = plain.map((value, n) => value * rest[0] - centre[n]);
  for (let r = 0; r < rank; r++) {
    const from = r * features;
    const part = dot(plain, basis, from) * gain[r];
    for (let n = 0; n < features; n++) white[n] += part * basis[from + n];
  }
  const length = dot(white, white, 0);
  const along = Array.from({ length: classes }, (_, k) => dot(white, means, k * features));
  let [nearest, cosine] = [Infinity, -Infinity];
  for (let k = 0; k < classes; k++) {
    let size = 0;
    for (let n = k * features; n < (k + 1) * features; n++) size += means[n] * means[n];
    nearest = Math.min(nearest, length + size - 2 * along[k]);
    cosine = Math.max(cosine, along[k] / Math.sqrt(Math.max(length * size, 1e-12)));
  }
  const shared = along.reduce((sum, value, k) => sum + value * dot(along, inner, k * classes), 0);
  const measures = [nearest, nearest - (length - shared), -cosine];
  return measures.reduce((sum, value, n) => sum + (value - typical[n]) / typical[3 + n], 0);
}

/** The sum of products of an array with as many values of another, from a place on. */
function dot(values, others, from) {
  let sum = 0;
  for (let n = 0; n < values.length; n++) sum += values[n] * others[from + n];
  return sum;
}
