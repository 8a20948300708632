// Puts the page together: what the simulator tells goes into the model, and from there into chat and inspector.

import { $ } from "./dom.js";
import { listen, post } from "./net.js";
import { model } from "./model.js";
import { showAccount, showChat, startChat } from "./chat.js";
import { editAgain, showMenu, showSuggestions, startComposer } from "./composer.js";
import { inspect, showInspector, showToolbar, startInspector } from "./inspector.js";

// What has changed since the last frame; of many pushes at once the page is drawn once.
let changed = new Set();
let asked = false;

const QUICK = 250; // ms
const DRAWN = 80; // pushes: each more makes all drawing slower
let all = false; // whether the earlier ones have been asked for

// A push that is over at once is drawn in the inspector once, and three dots never flash up in the chat.
function hold(id) {
  model.held.add(id);
  setTimeout(() => {
    if (!model.held.delete(id)) return;
    changed?.add(id);
    ask();
  }, QUICK);
}

function ask() {
  if (!asked) requestAnimationFrame(draw);
  asked = true;
}

function take(message) {
  if (message.all) {
    model.pushes.clear();
    model.held.clear();
    all = false;
    changed = null;
  }
  if (message.state) {
    model.state = message.state;
    if (!model.state.users.includes(model.openid)) model.openid = model.state.users[0];
    showAccount();
    showMenu();
    showToolbar();
    if (model.state.fresh && !model.state.problem) post("follow").catch(() => {});
  }
  for (const push of message.pushes || []) {
    if (!push.running) model.held.delete(push.id); else if (!message.all && !model.pushes.has(push.id)) hold(push.id);
    model.pushes.set(push.id, push);
    changed?.add(push.id);
  }
  for (const id of message.forgotten || []) {
    model.pushes.delete(id);
    changed?.add(id);
  }
  ask();
}

function draw() {
  const now = changed;
  changed = new Set();
  asked = false;
  leaveOut(now);
  showChat(now);
  const calm = now && new Set([...now].filter((id) => !model.held.has(id)));
  if (!calm || calm.size) showInspector(calm);
  showSuggestions();
}

// Draw the newest only.
function leaveOut(now) {
  const ids = [...model.pushes.keys()];
  const hidden = all ? 0 : Math.max(0, ids.length - DRAWN);
  const from = ids[hidden] ?? 0;
  if (now) for (const id of ids.slice(0, hidden)) if (id >= model.from) now.add(id);
  model.from = from;
  for (const button of document.querySelectorAll(".earlier")) button.hidden = !hidden;
}

function showEarlier() {
  all = true;
  changed = null;
  ask();
}

function showTab(name) {
  document.body.dataset.tab = name;
  for (const tab of document.querySelectorAll("#tabs [role=tab]")) {
    tab.setAttribute("aria-selected", String(tab.id === `tab-${name}`));
  }
}

function startTabs() {
  for (const name of ["chat", "inspector"]) $(`#tab-${name}`).addEventListener("click", () => showTab(name));
  $("#tabs").addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    showTab(document.body.dataset.tab === "chat" ? "inspector" : "chat");
    $("#tabs [aria-selected=true]").focus();
  });
}

function edit(push) {
  showTab("chat");
  editAgain(push);
}

async function start() {
  model.kinds = await (await fetch("static/kinds.json")).json();
  startTabs();
  for (const button of document.querySelectorAll(".earlier")) button.addEventListener("click", showEarlier);
  startChat((id) => { inspect(id); showTab("inspector"); }, edit);
  startInspector(edit);
  startComposer();
  listen(take, (connected) => { $("#offline").hidden = connected; }, () => model.state?.secret);
}

start();
