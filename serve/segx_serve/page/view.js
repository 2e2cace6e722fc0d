// Drawing and wording: classes as colours, areas as numbers. Knows neither the service nor the page's layout.

/** A class's name; a model without a card has numbers, and a model may say of a pixel that it is of no class. */
export function className(model, index) {
  if (!model.classes) return `class ${index}`;
  return model.classes[index] ?? "no class";
}

/** The classes that a number of a map stands for: itself, or of a multilabel model every class whose bit is set. */
export function classesAt(model, value) {
  if (model.task !== "multilabel") return [value];
  const found = [];
  for (let index = 0; value >> index; index++) if ((value >> index) & 1) found.push(index);
  return found;
}

/** What a number of a map means, in words. */
export function namesAt(model, value) {
  const names = classesAt(model, value).map((index) => className(model, index));
  return names.length ? names.join(" + ") : "no class";
}

/** The mean of colours [R, G, B]; null of none. */
export function blend(colors) {
  if (colors.length < 2) return colors[0] ?? null;
  return [0, 1, 2].map((channel) => Math.round(colors.reduce((sum, color) => sum + color[channel], 0) / colors.length));
}

/** A share of the picture for people. */
export function percent(fraction) {
  const value = fraction * 100;
  return value > 0 && value < 0.1 ? "< 0.1 %" : `${value.toFixed(1)} %`;
}

/** How many pixels have each number: [[number, count]], the most frequent first. A map never changes, so it is counted once. */
export function areas(map) {
  return (map.areas ??= count(map));
}


/** The colour [R, G, B] that a model gives a class. */
export function colorOf(model, index) {
  return model.palette[index] ?? [0, 0, 0];
}

/**
 * Draw the classes of a map into a canvas of the map's size.
 *
 * @param look (number) => [R, G, B], or null where its classes are switched off
 * @param only one number a pixel; where it is 0 nothing is drawn. All pixels without it.
 */
export function paintClasses(canvas, map, look, only = null) {
  fit(canvas, map);
  const context = canvas.getContext("2d");
  const image = context.createImageData(map.width, map.height);
  const words = new Uint32Array(image.data.buffer);
  const colors = new Uint32Array(map.data.BYTES_PER_ELEMENT === 1 ? 256 : 65536);
  const bytes = new Uint8Array(colors.buffer); // R, G, B, A as they lie in memory
  for (const [index] of areas(map)) {
    const color = look(index);
    if (color) bytes.set([...color, 255], 4 * index);
  }
  for (let i = 0; i < map.data.length; i++) words[i] = only && !only[i] ? 0 : colors[map.data[i]];
  context.putImageData(image, 0, 0);
}

/** Give a canvas a size; setting one, even the same again, clears it. */
export function fit(canvas, { width, height }) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}

/** An element with a class and a text; texts never become markup. */
export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function count({ data }) {
  const counts = new Uint32Array(data.BYTES_PER_ELEMENT === 1 ? 256 : 65536);
  for (const index of data) counts[index]++;
  const found = [];
  counts.forEach((pixels, index) => pixels && found.push([index, pixels]));
  return found.sort((a, b) => b[1] - a[1]);
}
