// Where on the picture somebody points: by mouse, by finger, or by arrow keys. Knows nothing of what lies there.

const STEP = 0.02;

/**
 * Follow the pointer over the panes of a stage.
 *
 * @param told ({ x, y } in 0..1, or null when the pointer left; whether it came by the keyboard) => void
 */
export function followPointer(stage, told) {
  let place = null;
  const move = (to, keyboard = false) => {
    place = to;
    told(place, keyboard);
  };
  const point = (event) => {
    const pane = event.target.closest(".pane");
    if (!pane) return;
    const box = pane.getBoundingClientRect();
    move(inside({ x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height }));
  };
  stage.addEventListener("pointermove", point);
  stage.addEventListener("pointerdown", point);
  // A finger that was lifted has left, too; what it pointed at stays named.
  stage.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && move(null));
  stage.addEventListener("blur", () => move(null));
  stage.addEventListener("keydown", (event) => {
    if (event.target !== stage) return;
    const [right, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if (event.key === "Escape") move(null);
    if (!right && !down) return;
    event.preventDefault();
    const step = event.shiftKey ? 5 * STEP : STEP;
    const from = place ?? { x: 0.5, y: 0.5 };
    move(inside({ x: from.x + right * step, y: from.y + down * step }), true);
  });
}

function inside({ x, y }) {
  return { x: Math.min(1, Math.max(0, x)), y: Math.min(1, Math.max(0, y)) };
}
