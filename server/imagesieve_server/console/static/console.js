// The console's keys, the picture's stage, and the lease's heartbeat.
// Every page works without this file; it only makes them fast.
"use strict";

const $ = (id) => document.getElementById(id);
const HEARTBEAT_MS = 60_000;
const PAN = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const IN_A_MOMENT = "Nothing was lost; try again in a moment.";
const AWAY_MS = 5 * 60_000; // without a key or a move for so long, the lease is let go

// --- keys ----------------------------------------------------------------------------------

function writing(element) {
  return element.matches("textarea, select, input:not([type=checkbox])") || element.isContentEditable;
}

function visible(element) {
  return element.offsetParent !== null && !element.disabled;
}

function act(key) {
  for (const element of document.querySelectorAll(`[data-key="${CSS.escape(key)}"]`)) {
    if (!visible(element)) continue;
    if (element.matches("textarea")) element.focus();
    else element.click();
    return true;
  }
  return false;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const target = event.target;
  if (event.key === "Enter" && target.type === "checkbox") {
    event.preventDefault(); // Chromium would press the form's first button that is not disabled
    return;
  }
  if (event.key === "Escape" && writing(target)) {
    target.blur();
    return;
  }
  if (document.body.dataset.shortcuts !== "on" || event.repeat || writing(target)) return;
  if ($("help")?.open) {
    if (event.key === "?") $("help").close();
    return;
  }
  const onControl = target.closest("button, a, summary, input") !== null;
  if (event.shiftKey && event.key in PAN && $("frame")?.classList.contains("zoomed")) {
    const [right, down] = PAN[event.key], frame = $("frame");
    frame.scrollBy(right * frame.clientWidth / 4, down * frame.clientHeight / 4);
    event.preventDefault();
    return;
  }
  let key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === " ") {
    if (onControl) return; // there it presses the control
    key = "v";
  }
  if (act(key)) event.preventDefault();
}

// --- forms -----------------------------------------------------------------------------------

let sent = false;

function onSubmit(event) {
  if (event.target.method === "dialog") return;
  if (sent) {
    event.preventDefault(); // one press, one decision
    return;
  }
  const button = event.submitter;
  if (button?.value === "reject" && !event.target.querySelector("[name=label]:checked")) {
    event.preventDefault();
    tell("Choose at least one label for a rejection.");
    return;
  }
  sent = true;
  document.body.classList.add("waiting-for-answer");
  if (inLoop(event.target, button)) {
    event.preventDefault();
    send(event.target, button);
  }
}

// The forms of the loop all lead to its page. Sent from here, the page stays with its note and its
// labels where the server does not answer: a restart, or a network that is away.
function inLoop(form, button) {
  return pathOf(form, button).startsWith("/review/");
}

function pathOf(form, button) {
  return button?.getAttribute("formaction") ?? form.getAttribute("action");
}

async function send(form, button) {
  const body = new URLSearchParams(new FormData(form));
  if (button?.name) body.set(button.name, button.value);
  const headers = { Accept: "application/json" }; // who is signed out hears of it here
  let answer;
  try {
    answer = await fetch(pathOf(form, button), { method: "POST", body, headers, redirect: "manual" });
  } catch {
    return again("The server does not answer. " + IN_A_MOMENT);
  }
  if (answer.type === "opaqueredirect" || answer.status === 409) location.assign("/review");
  else if (answer.status === 401) again("You are signed out, and this was not recorded. Load the page to sign in.");
  else if (answer.status >= 500) again("The review queue does not answer. " + IN_A_MOMENT);
  else again("Nothing was recorded: this page is too old. Load it again.");
}

function again(message) {
  sent = false;
  document.body.classList.remove("waiting-for-answer");
  tell(message);
}

function tell(message) {
  const told = $("told");
  if (!told) return;
  told.hidden = false;
  told.textContent = message;
  told.scrollIntoView({ block: "nearest" }); // on a narrow screen the buttons are far below
}

async function post(path) {
  const body = new URLSearchParams();
  body.set("csrf", document.querySelector("[name=csrf]").value);
  body.set("item_id", document.body.dataset.item);
  const headers = { Accept: "application/json" };
  const answer = await fetch(path, { method: "POST", body, headers, redirect: "error" });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

// --- the picture ----------------------------------------------------------------------------

const stage = { clear: false, revealed: false };

function show() {
  const frame = $("frame"), view = $("view"), image = $("picture");
  const chosen = view?.selectedOptions[0];
  const url = new URL(image.src);
  if (chosen) {
    url.searchParams.set("frame", chosen.dataset.frame);
    url.searchParams.set("background", chosen.dataset.background);
    outline(chosen.dataset.box);
  }
  url.searchParams.delete("clear");
  if (stage.clear) url.searchParams.set("clear", "");
  if (image.src !== url.href) {
    loading(true); // the picture before is not taken for this one, nor seen when it was veiled
    image.src = url.href;
  }
  image.alt = "The picture under review" + (stage.clear ? "" : ", blurred and grey");
  frame.classList.toggle("clear", stage.clear);
  $("veil").hidden = !stage.clear;
  if ($("reveal")) $("reveal").hidden = stage.clear;
  centre();
}

function loading(on) {
  $("frame").classList.toggle("loading", on);
  $("frame").setAttribute("aria-busy", String(on));
}

// A zoomed picture shows the outlined view, or its own middle.
function centre() {
  const frame = $("frame"), line = $("outline").querySelector(".line");
  if (!frame.classList.contains("zoomed")) return;
  const shown = (line.getAttribute("width") === "0" ? $("picture") : line).getBoundingClientRect();
  const seen = frame.getBoundingClientRect();
  frame.scrollBy(
    shown.left + shown.width / 2 - seen.left - seen.width / 2,
    shown.top + shown.height / 2 - seen.top - seen.height / 2,
  );
}

function outline(box) {
  const [x, y, width, height] = box ? box.split(" ") : [0, 0, 0, 0];
  for (const rect of $("outline").children) {
    for (const [name, value] of Object.entries({ x, y, width, height })) rect.setAttribute(name, value);
  }
}

async function reveal(event) {
  event.preventDefault();
  event.stopPropagation();
  try {
    if (!stage.revealed) await post("/review/reveal");
    stage.revealed = stage.clear = true;
    show();
    if (document.activeElement === document.body) $("veil").focus({ preventScroll: true });
    $("veil").blur();
  } catch {
    tell("The picture could not be revealed: the item is not yours any more, or the server does not answer.");
  }
}

function veil() {
  stage.clear = false;
  if (!$("reveal")) {
    const button = document.createElement("button");
    button.type = "button";
    button.id = "reveal";
    button.dataset.key = "v";
    button.innerHTML = $("veil").innerHTML.replace("Veil", "Reveal");
    button.addEventListener("click", reveal);
    $("veil").before(button);
  }
  show();
}

function step(by) {
  const view = $("view");
  view.selectedIndex = (view.selectedIndex + by + view.length) % view.length;
  show();
}

function toggle(button, name) {
  const on = $("frame").classList.toggle(name);
  button.setAttribute("aria-pressed", String(on));
}

function setUpPicture() {
  const image = $("picture");
  if (!image) return;
  stage.clear = stage.revealed = $("frame").classList.contains("clear");
  $("reveal-form")?.addEventListener("submit", reveal);
  $("veil").addEventListener("click", veil);
  $("grey").addEventListener("click", (event) => toggle(event.currentTarget, "grey"));
  $("zoom").addEventListener("click", (event) => {
    toggle(event.currentTarget, "zoomed");
    const frame = $("frame");
    if (frame.classList.contains("zoomed")) frame.tabIndex = 0; // there is something to scroll
    else frame.removeAttribute("tabindex");
    centre();
  });
  $("view")?.addEventListener("change", show);
  $("before")?.addEventListener("click", () => step(-1));
  $("after")?.addEventListener("click", () => step(1));
  image.addEventListener("load", () => loading(false));
  image.addEventListener("error", () => tell("The picture could not be loaded. Load the page again."));
}

// --- the lease --------------------------------------------------------------------------------

let seen = Date.now();
let lost = false;

async function beat() {
  if (lost || document.hidden || Date.now() - seen > AWAY_MS) return;
  try {
    const answer = await post("/review/extend");
    if (answer.kept) return;
    lost = true;
    tell("This item went back to the queue, and somebody else may have it. Take the next one.");
    for (const button of document.querySelectorAll("#decision button:not([data-key=u])")) button.disabled = true;
    offerNext();
  } catch {
    // The server restarts, or the network is away: the next beat, or the next key, will tell.
  }
}

function offerNext() {
  const link = document.createElement("a");
  link.href = "/review";
  link.className = "button";
  link.dataset.key = "n";
  link.textContent = "Go on";
  if (document.body.dataset.shortcuts === "on") {
    const key = document.createElement("kbd");
    key.textContent = "N";
    link.append(" ", key);
  }
  $("told").append(" ", link);
}

// --- start -----------------------------------------------------------------------------------

document.addEventListener("keydown", onKey);
document.addEventListener("submit", onSubmit);
addEventListener("pageshow", (event) => {
  sent = false; // also where the browser brings the page back as it was
  document.body.classList.remove("waiting-for-answer");
  if (event.persisted) location.reload();
});
$("help-button")?.addEventListener("click", () => {
  $("help").showModal();
  $("help").scrollTop = 0; // the button that has the focus is at its end
});
setUpPicture();
if ($("decision")) {
  for (const kind of ["keydown", "pointermove", "pointerdown", "scroll"]) {
    addEventListener(kind, () => { seen = Date.now(); }, { passive: true });
  }
  setInterval(beat, HEARTBEAT_MS);
  document.addEventListener("visibilitychange", beat);
}
