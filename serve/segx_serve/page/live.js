// Moving pictures: the camera, and handing the newest frame of a video to somebody, one at a time.
// Knows nothing of what is done with a frame.

import { CameraError } from "./errors.js";

/**
 * Open a camera.
 *
 * @param before the stream of the camera used so far; another one is then looked for. null: any camera, better the back one
 */
export async function openCamera(before = null) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new CameraError(
      window.isSecureContext
        ? "This browser offers no camera to pages."
        : `Browsers allow the camera only on https pages and on localhost; this page came from ${location.origin}.`,
    );
  }
  const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
  const video = before ? { ...size, ...(await otherThan(before)) } : { ...size, facingMode: { ideal: "environment" } };
  if (before) close(before); // most phones open one camera at a time
  return navigator.mediaDevices.getUserMedia({ video, audio: false }).catch((problem) => {
    throw new CameraError(reason(problem));
  });
}

/** How many cameras there are; known for certain only once one was opened. */
export async function countCameras() {
  return (await cameras()).length;
}

/** Switch a camera off. */
export function close(stream) {
  for (const track of stream.getTracks()) track.stop();
}

/**
 * Hand frames to `work` while a video moves, also after a jump in it. One call at a time: frames that come while `work`
 * is busy are dropped, and then it gets the newest.
 *
 * @param work async () => void, takes the frame that the video shows
 * @returns { again, stop }: work on the frame once more though it has not changed; work on no more
 */
export function followFrames(video, work) {
  let running = true;
  let fresh = false;
  let working = false;
  const turn = async () => {
    if (working) return;
    working = true;
    while (running && fresh && video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) {
      fresh = false;
      await work();
    }
    working = false;
  };
  const arrived = () => {
    fresh = true;
    turn();
  };
  const unwatch = watch(video, arrived);
  // A jump in a video that stands: its frame may come before there is data to show it, or be told of by nobody.
  video.addEventListener("seeked", arrived);
  return {
    again: arrived,
    stop() {
      running = false;
      video.removeEventListener("seeked", arrived);
      unwatch();
    },
  };
}

/** Frames a second over the last two seconds. */
export class Pace {
  #times = [];

  /** One more frame, now. */
  tick(now = performance.now()) {
    this.#times.push(now);
    this.#times = this.#times.filter((time) => now - time <= 2000);
  }

  /** null until there are two frames to tell it from. */
  get perSecond() {
    const [first] = this.#times;
    const last = this.#times.at(-1);
    return last > first ? ((this.#times.length - 1) * 1000) / (last - first) : null;
  }
}

function watch(video, arrived) {
  let handle;
  if (video.requestVideoFrameCallback) {
    const next = () => {
      handle = video.requestVideoFrameCallback(next);
      arrived();
    };
    handle = video.requestVideoFrameCallback(next);
    return () => video.cancelVideoFrameCallback(handle);
  }
  // Older browsers do not tell of single frames: look for one at every repaint.
  let time = -1;
  const look = () => {
    handle = requestAnimationFrame(look);
    if (video.currentTime === time) return;
    time = video.currentTime;
    arrived();
  };
  handle = requestAnimationFrame(look);
  return () => cancelAnimationFrame(handle);
}

async function cameras() {
  return (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput");
}

/** The camera that faces the other way, and where cameras do not say how they face, the next one of the list. */
async function otherThan(stream) {
  const { deviceId, facingMode } = stream.getVideoTracks()[0].getSettings();
  if (facingMode) return { facingMode: { ideal: facingMode === "user" ? "environment" : "user" } };
  const ids = (await cameras()).map((device) => device.deviceId);
  return { deviceId: { exact: ids[(ids.indexOf(deviceId) + 1) % ids.length] } };
}

function reason(problem) {
  switch (problem.name) {
    case "NotAllowedError":
      return "The camera was denied. Allow it for this page in the browser's settings, then try again.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "No camera was found. Plug one in, or choose a picture instead.";
    case "NotReadableError":
      return "The camera is in use by another program. Close that one, then try again.";
    default:
      return `The camera did not start: ${problem.message || problem.name}.`;
  }
}
