// Pictures on their way to the service and files on their way back. Knows nothing of models.

/** Make a large picture smaller: faster to send and to segment. What the browser cannot read goes as it is. */
export async function prepare(file, side) {
  const image = await createImageBitmap(file).catch(() => null);
  const name = file.name || "picture.png";
  if (!image || !side || Math.max(image.width, image.height) <= side) return { name, image, blob: file };
  const canvas = smaller(image, image.width, image.height, side);
  image.close();
  return { name, image: canvas, blob: await jpeg(canvas) };
}

/** The frame that a video shows right now, as a still of its own. */
export async function grab(video, side, name) {
  const canvas = smaller(video, video.videoWidth, video.videoHeight, side);
  return { name, image: canvas, blob: await jpeg(canvas) };
}

/** Let the browser save a file. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // Some browsers read the file only after the click has been handled.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}


function smaller(source, width, height, side) {
  const scale = side ? Math.min(1, side / Math.max(width, height)) : 1;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas;
}

function jpeg(canvas) {
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
}
