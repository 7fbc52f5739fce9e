"use strict";

// One picture, its poses, and the controls; whatever changes, the canvas is drawn anew.
const at = (id) => document.getElementById(id);
const canvas = at("canvas"), pen = canvas.getContext("2d"), video = at("video");
const COLOURS = { right: "rgb(255 138 30)", left: "rgb(60 160 255)", "": "rgb(200 226 70)" };
const CAMERA_WIDTH = 640; // a live picture is sent at most so wide [px]

let model = null, file = null, picture = null, poses = null, name = "picture", asking = null, stream = null;
let boxes = [], corner = null, pointer = null; // where persons are, as dragged [picture px]; and the drag under way

const counted = (many) => (many === 1 ? "1 person" : `${many} persons`);

function say(text, error = false) {
  at("status").textContent = text;
  at("status").classList.toggle("error", error);
}

async function start() {
  at("curl").textContent = `curl -F image=@photo.jpg ${location.origin}/predict\n` +
    `curl --data-binary @photo.jpg '${location.origin}/predict?format=jpg' > drawn.jpg`;
  try {
    model = await (await fetch("model")).json();
  } catch {
    say("The service does not answer.", true);
    return;
  }
  at("model").textContent = `${model.weights}, ${model.skeleton.keypoints.length} keypoints; ` +
    (model.calibrated ? "scores are probabilities" : "scores are heights of peaks");
  at("detecting").hidden = !model.detector;
  at("camera").hidden = !navigator.mediaDevices;
}

async function ask(blob) {
  if (blob.size > model.limits.bytes) throw new Error(`more than ${model.limits.bytes / 1e6} MB: choose a smaller picture`);
  asking?.abort();
  asking = new AbortController();
  const where = boxes.length ? `boxes=${encodeURIComponent(JSON.stringify(boxes))}` : `detect=${at("detect").checked}`;
  const answer = await fetch(`predict?${where}`, {
    method: "POST", body: blob, headers: { "content-type": blob.type || "application/octet-stream" }, signal: asking.signal,
  });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told;
}

async function show(blob, called) {
  stopCamera();
  name = (called || "picture").replace(/\.[^.]*$/, "");
  boxes = [];
  file = blob;
  await look(true);
}

async function look(fresh) {
  if (!file) return;
  say("Looking…");
  try {
    poses = await ask(file);
    try {
      if (fresh) picture = await createImageBitmap(file, { imageOrientation: "from-image" });
    } catch {
      picture = null; // a format that this browser does not show, such as TIFF
    }
    const time = Object.values(poses.timing ?? {}).reduce((sum, ms) => sum + ms, 0);
    say(`${counted(poses.people.length)}, ${poses.image.width} × ${poses.image.height} pixels, ${time.toFixed(0)} ms` +
      (picture ? ". Drag around a person to look there." : ". This browser cannot show the picture itself."));
    reveal();
    draw();
    list();
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, true);
  }
}

function reveal() {
  at("drop").hidden = true;
  canvas.hidden = false;
  for (const id of ["another", "save-picture", "save-json"]) at(id).disabled = false;
  at("clear").disabled = !boxes.length;
}

function draw() {
  if (!poses) return;
  const { width, height } = poses.image, least = Number(at("score").value);
  canvas.width = width;
  canvas.height = height;
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, width, height);
  if (picture && at("picture").checked) pen.drawImage(picture, 0, 0, width, height);
  pen.lineCap = "round";
  for (const person of poses.people) drawPerson(person, least, Math.max(width, height));
  if (corner) {
    pen.lineWidth = Math.max(width, height) / 400;
    pen.strokeStyle = "#fff";
    pen.strokeRect(corner[0] + 0.5, corner[1] + 0.5, pointer[0] - corner[0], pointer[1] - corner[1]);
  }
}

function drawPerson(person, least, most) {
  const side = Object.fromEntries(model.skeleton.keypoints.map((keypoint, k) => [keypoint, model.skeleton.sides[k]]));
  const [x0, y0, x1, y1] = person.box, longer = Math.min(Math.max(x1 - x0, y1 - y0), most);
  const thick = Math.min(Math.max(longer * 0.013, 1.6), 14), found = {};
  for (const [keypoint, { x, y, score }] of Object.entries(person.keypoints)) {
    if (x !== null && score >= least) found[keypoint] = [x + 0.5, y + 0.5]; // centres of pixels to corners
  }
  const limbs = at("limbs").checked ? poses.skeleton.edges.filter(([a, b]) => found[a] && found[b]) : [];
  const sided = (a, b) => (side[a] === side[b] ? side[a] : side[a] && side[b] ? "" : side[a] || side[b]);
  const line = ([a, b], width, colour) => {
    pen.lineWidth = width;
    pen.strokeStyle = colour;
    pen.beginPath();
    pen.moveTo(...found[a]);
    pen.lineTo(...found[b]);
    pen.stroke();
  };
  for (const limb of limbs) line(limb, thick * 1.8, "rgb(24 24 32)");
  for (const limb of limbs) line(limb, thick, COLOURS[sided(...limb)]);
  for (const [keypoint, [x, y]] of Object.entries(found)) {
    for (const [radius, colour] of [[1.2, "rgb(24 24 32)"], [0.9, "#fff"], [0.55, COLOURS[side[keypoint]]]]) {
      pen.fillStyle = colour;
      pen.beginPath();
      pen.arc(x, y, radius * thick, 0, 7);
      pen.fill();
    }
    if (at("names").checked) write(keypoint.replaceAll("_", " "), x + thick * 1.5, y, Math.max(thick * 2, 11));
  }
  if (at("boxes").checked) {
    pen.lineWidth = thick;
    pen.strokeStyle = "rgb(255 214 10)";
    pen.strokeRect(x0 + 0.5, y0 + 0.5, x1 - x0, y1 - y0);
  }
}

function write(text, x, y, size) {
  pen.font = `${size}px system-ui, sans-serif`;
  pen.textBaseline = "middle";
  pen.lineWidth = size / 4;
  pen.strokeStyle = "rgb(24 24 32)";
  pen.strokeText(text, x, y);
  pen.fillStyle = "#fff";
  pen.fillText(text, x, y);
}

function list() {
  const people = poses.people.slice(0, 6), least = Number(at("score").value);
  at("table").hidden = !people.length;
  const row = (cells, kind) => {
    const line = document.createElement("tr");
    cells.forEach((text, number) => {
      const cell = document.createElement(number && kind === "td" ? "td" : "th");
      cell.textContent = text;
      cell.scope = cell.tagName === "TH" ? (kind === "td" ? "row" : "col") : "";
      if (cell.tagName === "TD" && Number(text) < least) cell.className = "low";
      line.append(cell);
    });
    return line;
  };
  at("table").tHead.replaceChildren(row(["keypoint", ...people.map((_, number) => `${number + 1}`)], "th"));
  at("table").tBodies[0].replaceChildren(...poses.skeleton.keypoints.map((keypoint) =>
    row([keypoint.replaceAll("_", " "), ...people.map((person) => person.keypoints[keypoint].score.toFixed(2))], "td")));
}

// ---- camera

async function startCamera() {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: CAMERA_WIDTH } });
  } catch (error) {
    say(`No camera: ${error.message}`, true);
    return;
  }
  video.srcObject = stream;
  await video.play();
  at("camera").textContent = "Stop camera";
  at("table").hidden = true;
  name = "camera";
  file = null;
  boxes = [];
  const still = document.createElement("canvas");
  while (stream) {
    still.width = video.videoWidth;
    still.height = video.videoHeight;
    still.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((done) => still.toBlob(done, "image/jpeg", 0.9));
    try {
      const told = await ask(blob);
      if (!stream) break;
      poses = told;
      picture = await createImageBitmap(still);
      say(`live, ${counted(poses.people.length)}`);
      reveal();
      draw();
    } catch (error) {
      if (error.name === "AbortError") break;
      say(error.message, true);
      await new Promise((done) => setTimeout(done, 1000));
    }
  }
}

function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  video.srcObject = null;
  at("camera").textContent = "Camera";
}

// ---- boxes

function placeOf(event) {
  const seen = canvas.getBoundingClientRect();
  return [
    ((event.clientX - seen.left) / seen.width) * canvas.width - 0.5,
    ((event.clientY - seen.top) / seen.height) * canvas.height - 0.5,
  ];
}

canvas.addEventListener("pointerdown", (event) => {
  if (!file || !picture || event.button) return;
  corner = pointer = placeOf(event);
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  if (!corner) return;
  pointer = placeOf(event);
  draw();
});
canvas.addEventListener("pointerup", () => {
  if (!corner) return;
  const [x, y] = [0, 1].map((axis) => [corner[axis], pointer[axis]].sort((a, b) => a - b));
  corner = null;
  if (x[1] - x[0] > 4 && y[1] - y[0] > 4 && boxes.length < model.limits.persons) {
    boxes.push([x[0], y[0], x[1], y[1]]);
    look(false);
  } else draw();
});
canvas.addEventListener("pointercancel", () => {
  corner = null;
  draw();
});
at("clear").addEventListener("click", () => {
  boxes = [];
  look(false);
});
at("detect").addEventListener("change", () => look(false));

// ---- what the user does

function save(blob, ending) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${name}${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function given(files) {
  const chosen = [...files].find((one) => one.type.startsWith("image/") || one.name);
  if (chosen) show(chosen, chosen.name);
}

at("file").addEventListener("change", (event) => {
  given(event.target.files);
  event.target.value = "";
});
document.addEventListener("paste", (event) => given(event.clipboardData.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
document.addEventListener("dragleave", () => at("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  given(event.dataTransfer.files);
});
at("score").addEventListener("input", () => {
  at("least").textContent = Number(at("score").value).toFixed(2);
  draw();
  if (poses && !stream) list();
});
for (const id of ["limbs", "names", "boxes", "picture"]) at(id).addEventListener("change", draw);
at("another").addEventListener("click", () => at("file").click());
at("camera").addEventListener("click", () => (stream ? stopCamera() : startCamera()));
at("save-picture").addEventListener("click", () => canvas.toBlob((blob) => save(blob, "-pose.png"), "image/png"));
at("save-json").addEventListener("click", () => save(new Blob([JSON.stringify(poses, null, 1)], { type: "application/json" }), ".json"));
start();
