// Drawing: a picture, its classes over it, and the legend. Knows nothing of the service.

/** Draw the classes that are switched on into a canvas of the class map's size. */
export function paintClasses(canvas, map, palette, shown) {
  canvas.width = map.width;
  canvas.height = map.height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(map.width, map.height);
  const words = new Uint32Array(image.data.buffer);
  // One 32-bit colour a class, transparent where the class is switched off. Byte order R, G, B, A as in memory.
  const colors = new Uint32Array(palette.length);
  const bytes = new Uint8Array(colors.buffer);
  palette.forEach(([red, green, blue], index) => bytes.set([red, green, blue, shown.has(index) ? 255 : 0], 4 * index));
  for (let i = 0; i < map.data.length; i++) words[i] = colors[map.data[i]] ?? 0;
  context.putImageData(image, 0, 0);
}

/** How many pixels each class has: Map of index to count, the largest first. */
export function areas(map) {
  const counts = new Map();
  for (const index of map.data) counts.set(index, (counts.get(index) ?? 0) + 1);
  return new Map([...counts].sort((a, b) => b[1] - a[1]));
}

/** Fill the legend with one switch a class found; `changed` is called with the set of classes switched on. */
export function drawLegend(list, counts, total, model, changed) {
  const shown = new Set(counts.keys());
  list.replaceChildren(...[...counts].map(([index, count]) => legendRow(index, count / total, model, shown, changed)));
  return {
    shown,
    switchAll(on) {
      shown.clear();
      if (on) for (const index of counts.keys()) shown.add(index);
      for (const box of list.querySelectorAll("input")) box.checked = on;
      changed(shown);
    },
  };
}

function legendRow(index, fraction, model, shown, changed) {
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
  box.addEventListener("change", () => {
    if (box.checked) shown.add(index);
    else shown.delete(index);
    changed(shown);
  });
  const swatch = element("span", "swatch");
  swatch.style.backgroundColor = `rgb(${(model.palette[index] ?? [0, 0, 0]).join(",")})`;
  const bar = element("span", "area");
  bar.style.width = `${Math.max(1, fraction * 100)}%`;
  const label = element("label");
  label.append(box, swatch, element("span", "name", className(model, index)), element("span", "percent", percent(fraction)), bar);
  const row = element("li");
  row.append(label);
  return row;
}

/** A class's name; a model without a card has numbers, and a model may say of a pixel that it is of no class. */
export function className(model, index) {
  if (!model.classes) return `class ${index}`;
  return model.classes[index] ?? "no class";
}

/** A share of the picture for people. */
export function percent(fraction) {
  const value = fraction * 100;
  return value > 0 && value < 0.1 ? "< 0.1 %" : `${value.toFixed(1)} %`;
}

/** An element with a class and a text; texts never become markup. */
export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}
