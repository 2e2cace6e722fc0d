// Two answers for one picture: which classes are the same, where the answers agree, and the divider between the two.
// Classes of two models are the same when they have the same name, whatever their numbers and colours.

import { areas, classesAt, className, colorOf, namesAt } from "./view.js";

/**
 * The classes found in one or two answers, the largest first. Those of a multilabel model may overlap.
 *
 * @param answers [{ model, map }]
 * @returns [{ name, color, shares }] with a share of the picture for each answer
 */
export function foundClasses(answers) {
  const found = new Map();
  answers.forEach(({ model, map }, number) => {
    for (const [value, count] of areas(map)) {
      for (const index of classesAt(model, value)) {
        const name = className(model, index);
        if (!found.has(name)) found.set(name, { name, color: colorOf(model, index), shares: answers.map(() => 0) });
        found.get(name).shares[number] += count / map.data.length;
      }
    }
  });
  return [...found.values()].sort((a, b) => Math.max(...b.shares) - Math.max(...a.shares));
}

/** The colour of a class of `model`: the first model's where it has a class of that name, so that like looks alike. */
export function sharedColor(model, index, first) {
  const there = model === first ? -1 : (first.classes?.indexOf(className(model, index)) ?? -1);
  return there < 0 ? colorOf(model, index) : colorOf(first, there);
}

/** Where two answers of one size differ: { share of pixels where they agree, differs: 1 or 0 a pixel }. */
export function agreement(a, b) {
  const numbers = new Map();
  const [codesA, codesB] = [a, b].map(({ model, map }) => {
    const codes = [];
    for (const [value] of areas(map)) {
      const name = namesAt(model, value);
      if (!numbers.has(name)) numbers.set(name, numbers.size);
      codes[value] = numbers.get(name);
    }
    return codes;
  });
  const differs = new Uint8Array(a.map.data.length);
  let different = 0;
  for (let i = 0; i < differs.length; i++) {
    differs[i] = codesA[a.map.data[i]] === codesB[b.map.data[i]] ? 0 : 1;
    different += differs[i];
  }
  return { share: 1 - different / differs.length, differs };
}

/** Let the divider between two panes be moved, by dragging it or with the arrow keys. */
export function startDivider(handle, stage) {
  let place = 50; // per cent from the left
  const move = (to) => {
    place = Math.min(100, Math.max(0, to));
    stage.style.setProperty("--split", `${place}%`);
    handle.setAttribute("aria-valuenow", Math.round(place));
  };
  handle.addEventListener("pointerdown", (event) => handle.setPointerCapture(event.pointerId));
  handle.addEventListener("pointermove", (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const box = stage.getBoundingClientRect();
    move(((event.clientX - box.left) / box.width) * 100);
  });
  handle.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -20, PageUp: 20, Home: -100, End: 100 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    move(place + steps[event.key]);
  });
  move(place);
}
