// The page: takes a picture, a video or the camera, asks the service, hands the answer to result.js.

import { CameraError, VideoError } from "./errors.js";
import { close, countCameras, followFrames, openCamera, Pace } from "./live.js";
import { grab, prepare } from "./picture.js";
import { openVideo, startPlayer } from "./player.js";
import { Result } from "./result.js";
import { askKey, complain, fail, sayWaiting, tell, working } from "./say.js";
import { pause, Service } from "./service.js";
import { startTakeAway } from "./takeaway.js";

const $ = (id) => document.getElementById(id);
const LIVE_TRIES = 5;

const service = new Service({ askKey, waiting: sayWaiting });
const result = new Result();
let models = [];
// What is being segmented: { name, signal, again, end, ... }, or null. A new source ends the one before.
let source = null;

// ---- what is chosen ---------------------------------------------------------------------------------------------

function chosen() {
  const named = (id) => models.find((one) => one.name === $(id).value);
  const first = named("model") ?? models[0];
  const second = named("second");
  return second && second !== first ? [first, second] : [first];
}

function side() {
  return Number($("size").value);
}

async function loadModels() {
  const told = await service.models();
  models = told.models;
  $("model").replaceChildren(...models.map((one) => new Option(one.name, one.name)));
  $("model-choice").hidden = models.length < 2;
  $("second-choice").hidden = models.length < 2;
  $("sample").hidden = !told.sample;
  modelChanged();
}

function modelChanged() {
  const [first] = chosen();
  const others = models.filter((one) => one !== first).map((one) => new Option(one.name, one.name));
  const second = $("second").value;
  $("second").replaceChildren(new Option("nothing", ""), ...others);
  $("second").value = others.some((option) => option.value === second) ? second : "";
  showFacts(first);
}

function showFacts(one) {
  const facts = [one.name, one.classes ? `${one.classes.length} classes` : null, one.precision === "unknown" ? null : one.precision];
  facts.push(one.provider.replace("ExecutionProvider", ""));
  const row = one.measurements.find((measured) => measured.precision === one.precision);
  if (row) facts.push(`mIoU ${(row.miou * 100).toFixed(1)} % on ${row.images} pictures (${row.split})`);
  $("facts").textContent = facts.filter(Boolean).join(" · ");
}

// ---- sources ----------------------------------------------------------------------------------------------------

/** End the source before, if any, and begin a new one. */
function begin(name, more = {}) {
  source?.end?.();
  const stopper = new AbortController();
  const made = { name, signal: stopper.signal, before: source?.again, ...more };
  made.end = () => {
    stopper.abort();
    more.end?.();
    working(false);
    $("camera-tools").hidden = true;
    $("video-tools").hidden = true;
  };
  source = made;
  complain("");
  $("drop").classList.add("small-drop");
  return made;
}

/** End a source that failed and say why, unless somebody has gone on to another one meanwhile. */
function giveUp(mine, problem) {
  if (mine.signal.aborted) return;
  mine.end();
  if (result.shown) {
    mine.again ??= mine.before; // what is still shown is still what a change of model is for
  } else {
    result.hide();
    $("drop").classList.remove("small-drop");
  }
  fail(problem, mine.name);
}

/** The answers of the models chosen for one picture, asked for one after the other so that neither slows the other. */
async function ask(blob, options) {
  if (!models.length) await loadModels();
  const answers = [];
  for (const model of chosen()) answers.push({ model, ...(await service.classMap(blob, model.name, options)) });
  return answers;
}

async function segmentPicture(file) {
  const mine = begin(file.name || "The picture", { file, again: () => segmentPicture(file) });
  const { signal } = mine;
  working(true, "Working …");
  try {
    const picture = await prepare(file, side());
    if (signal.aborted) return;
    // The same picture for another model keeps what it shows until the new answer is there.
    if (picture.image && result.shown?.file !== file) result.expect(picture.image);
    const answers = await ask(picture.blob, { signal });
    tell(result.show({ ...picture, file, type: file.type, answers }));
    working(false);
  } catch (problem) {
    giveUp(mine, problem);
  }
}

/** Segment what a video element shows until the source ends. */
function startFrames(mine, frameName) {
  const video = $("video");
  const { signal } = mine;
  const pace = new Pace();
  // The first frame without classes keeps the place until its answer is there.
  result.expect(video, { width: video.videoWidth, height: video.videoHeight });
  let refusals = 0;
  const work = async () => {
    try {
      const frame = await grab(video, side(), frameName());
      const answers = await ask(frame.blob, { signal, tries: 1 });
      if (signal.aborted) return;
      pace.tick();
      result.show({ ...frame, type: "image/jpeg", answers }, { live: true, perSecond: pace.perSecond });
      if ($("status").textContent !== mine.status) tell(mine.status);
      refusals = 0;
      working(false);
    } catch (problem) {
      if (signal.aborted) return;
      if (problem.busy && ++refusals < LIVE_TRIES) {
        // A frame that waited would be stale: wait, then take the newest.
        sayWaiting(problem.wait, refusals, LIVE_TRIES);
        await pause(problem.wait * 1000);
        frames.again();
      } else {
        giveUp(mine, problem);
      }
    }
  };
  const frames = followFrames(video, work);
  signal.addEventListener("abort", () => frames.stop());
  mine.again = () => frames.again();
}

async function startCamera() {
  const before = source?.stream ?? null;
  if (source?.stream) source.stream = null; // handed over, not closed twice
  const video = $("video");
  const mine = begin("The camera", {
    end: () => {
      if (mine.stream) close(mine.stream);
      mine.stream = null;
      video.srcObject = null;
    },
  });
  working(true, "Starting the camera …");
  try {
    const stream = await openCamera(before);
    if (mine.signal.aborted) return close(stream);
    mine.stream = stream;
    stream.getVideoTracks()[0].addEventListener("ended", () => {
      giveUp(mine, new CameraError("The camera was unplugged or taken away."));
    });
    video.removeAttribute("src");
    video.srcObject = stream;
    await video.play();
    mine.status = "The camera is on.";
    startFrames(mine, () => "frame.jpg");
    $("camera-tools").hidden = false;
    $("switch").hidden = (await countCameras()) < 2;
  } catch (problem) {
    if (before) close(before);
    giveUp(mine, problem);
  }
}

function stopCamera() {
  const { shown } = result;
  source.end();
  if (shown) source.again = () => segmentPicture(new File([shown.blob], shown.name, { type: shown.type }));
  tell("The camera is off. Its last frame stays.");
  $("camera").focus();
}

async function startVideo(file) {
  const video = $("video");
  const address = URL.createObjectURL(file);
  const mine = begin(file.name, {
    file,
    end: () => {
      video.pause();
      video.removeAttribute("src");
      URL.revokeObjectURL(address);
    },
  });
  working(true, "Opening the video …");
  try {
    video.srcObject = null;
    await openVideo(video, address, file.name);
    if (mine.signal.aborted) return;
    mine.status = "Every frame shown is segmented; frames that come meanwhile are left out.";
    $("video-tools").hidden = false;
    video.addEventListener("error", () => giveUp(mine, new VideoError(`${file.name} is damaged.`)), { signal: mine.signal });
    startFrames(mine, () => `${file.name.replace(/\.\w+$/, "")}-${video.currentTime.toFixed(2)}s.jpg`);
    mine.again(); // the first frame, before anybody presses Play
    await video.play();
  } catch (problem) {
    // A pause while it starts to play is no failure, and a browser that does not let it start by itself waits for Play.
    if (!["AbortError", "NotAllowedError"].includes(problem.name)) giveUp(mine, problem);
  }
}

function take(files) {
  const list = [...(files ?? [])];
  const file = list.find((one) => /^(image|video)\//.test(one.type)) ?? list[0];
  if (!file) complain("That is neither a picture nor a video file.");
  else if (file.type.startsWith("video/")) startVideo(file);
  else segmentPicture(file);
}

// ---- what people do -----------------------------------------------------------------------------------------------

$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  if ($("file").files.length) take($("file").files);
  $("file").value = "";
});
$("camera").addEventListener("click", startCamera);
$("switch").addEventListener("click", startCamera);
$("stop").addEventListener("click", stopCamera);
$("sample").addEventListener("click", () => service.sample().then(segmentPicture, (problem) => fail(problem, "The sample")));
document.addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length) take(event.clipboardData.files);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  take(event.dataTransfer?.files);
});
$("model").addEventListener("change", () => {
  modelChanged();
  source?.again?.();
});
$("second").addEventListener("change", () => source?.again?.());
$("size").addEventListener("change", () => source?.again?.());
startPlayer($("video"), { play: $("play"), seek: $("seek"), time: $("time") });
startTakeAway(service, () => result.shown);
loadModels().catch((problem) => fail(problem, "The list of models"));
