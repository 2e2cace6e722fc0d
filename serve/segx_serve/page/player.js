// The controls of a video file: play, pause, jump, time. The frames themselves go their own way (live.js).

import { VideoError } from "./errors.js";

/** Wire up a play button, a slider and a time for a video element. */
export function startPlayer(video, { play, seek, time }) {
  const draw = () => {
    const length = Number.isFinite(video.duration) ? video.duration : 0;
    play.textContent = video.paused ? "Play" : "Pause";
    seek.disabled = !length; // a recording that was never finished does not say how long it is
    seek.max = length;
    seek.value = video.currentTime;
    time.textContent = length ? `${clock(video.currentTime)} / ${clock(length)}` : clock(video.currentTime);
    seek.setAttribute("aria-valuetext", time.textContent);
  };
  for (const event of ["play", "pause", "ended", "timeupdate", "seeked", "loadedmetadata", "durationchange", "emptied"]) {
    video.addEventListener(event, draw);
  }
  play.addEventListener("click", () => (video.paused ? video.play() : video.pause()));
  seek.addEventListener("input", () => (video.currentTime = Number(seek.value)));
}

/** Load a video file and wait until its first frame is there. */
export async function openVideo(video, address, name) {
  await new Promise((resolve, reject) => {
    video.onloadeddata = resolve;
    video.onerror = () => reject(new VideoError(`This browser cannot play ${name}.`));
    video.src = address;
    video.load();
  });
  if (!video.videoWidth) throw new VideoError(`${name} has sound but no pictures.`);
}

function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
